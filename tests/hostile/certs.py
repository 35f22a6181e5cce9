"""Public keys with their self-signatures, subkeys and certifications, built as their owners and the authority would."""

from tests.hostile.forge import (
    CERTIFY,
    DAY,
    KEY,
    SHA256,
    SIGN,
    SIGNATURE,
    SUBKEY,
    USER_ID,
    Signer,
    flags,
    lasting,
    notation,
    over_key,
    over_user_id,
    packet,
    signature,
    sub,
)

REQUEST = b"0" * 64
DOMAIN = b"@countersign.example"
NUMBER, ROLE = b"1001", b"customer"


def notations(number: bytes = NUMBER, role: bytes = ROLE, request: bytes = REQUEST) -> bytes:
    """The three that a certification of the authority must have."""
    values = ((b"number", number), (b"role", role), (b"request", request))
    return b"".join(notation(name + DOMAIN, value) for name, value in values)


def bare(
    key: Signer, user_id: bytes, *, usage: int = CERTIFY | SIGN, hashed: bytes = b"", digest: int = SHA256
) -> bytes:
    """A key with one user ID and its positive self-certification."""
    return packet(KEY, key.public) + named(key, user_id, usage=usage, hashed=hashed, digest=digest)


def named(
    key: Signer,
    user_id: bytes,
    *,
    usage: int = CERTIFY | SIGN,
    hashed: bytes = b"",
    digest: int = SHA256,
    at: int | None = None,
) -> bytes:
    """A user ID bound to a key by its owner."""
    made = signature(
        key,
        0x13,
        over_key(key) + over_user_id(user_id),
        at=key.created if at is None else at,
        hashed=flags(usage) + hashed,
        digest=digest,
    )
    return packet(USER_ID, user_id) + packet(SIGNATURE, made)


def certification(
    by: Signer,
    key: Signer,
    user_id: bytes,
    *,
    at: int,
    days: int | None = 365,
    said: bytes | None = None,
    unhashed: bytes = b"",
    digest: int = SHA256,
    kind: int = 0x10,
    fields: bytes | None = None,
    issuers: bytes | None = None,
) -> bytes:
    """The packet by which an authority certifies a user ID of a key."""
    hashed = (notations() if said is None else said) + (lasting(days * DAY) if days is not None else b"")
    over = over_key(key) + over_user_id(user_id)
    made = signature(
        by,
        kind,
        over,
        at=at,
        hashed=hashed,
        unhashed=unhashed,
        digest=digest,
        fields=fields,
        issuers=issuers,
    )
    return packet(SIGNATURE, made)


def revoked_certification(by: Signer, key: Signer, user_id: bytes, *, at: int) -> bytes:
    return packet(SIGNATURE, signature(by, 0x30, over_key(key) + over_user_id(user_id), at=at))


def revoked_key(by: Signer, key: Signer, *, at: int, reason: int = 2) -> bytes:
    """A key revocation, which stands right behind the key; reason 2: it was compromised (RFC 4880, 5.2.3.23)."""
    return packet(SIGNATURE, signature(by, 0x20, over_key(key), at=at, hashed=sub(29, bytes([reason]))))


def backed(key: Signer, subkey: Signer, *, at: int, digest: int = SHA256, hashed: bytes = b"") -> bytes:
    """The body of the signature by which a signing subkey agrees to belong to a key."""
    return signature(subkey, 0x19, over_key(key) + over_key(subkey), at=at, digest=digest, hashed=hashed)


def bound(
    key: Signer,
    subkey: Signer,
    *,
    usage: int = SIGN,
    back: bytes | None = None,
    hashed: bytes = b"",
    at: int | None = None,
    digest: int = SHA256,
) -> bytes:
    """A subkey bound to its key; ``back`` is the embedded signature in the other direction, b"" for none."""
    when = subkey.created if at is None else at
    embedded = back if back is not None else backed(key, subkey, at=when) if usage & SIGN else b""
    made = signature(
        key,
        0x18,
        over_key(key) + over_key(subkey),
        at=when,
        hashed=flags(usage) + hashed,
        unhashed=sub(32, embedded) if embedded else b"",
        digest=digest,
    )
    return packet(SUBKEY, subkey.public) + packet(SIGNATURE, made)
