"""Each mistake in a certificate, root or revocation list, with the rule that must refuse it."""

from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from ca.bridge import Holder, Revocation, make_crl, make_root
from ca.x509.profile import CREATION_TIME, creation_time, key_names, leaf_names, utc
from tests.ca.bridge_cast import CREATED, DAY, ENDS, NOW, REQUEST_DIGEST, SHA1, Offer, Party, World, forged, resigned

BOB = Holder("customer", "1002", "Bob")
ALICE_1002 = Holder("customer", "1002", "Alice")
SUPERSEDED = x509.CRLReason(x509.ReasonFlags.superseded)
CA_TRUE = (x509.BasicConstraints(ca=True, path_length=None), True)


def serial(offer: Offer) -> int:
    return x509.load_der_x509_certificate(offer.certificate).serial_number


def alice(w: World, **changes: object) -> Offer:
    """Alice's good offer with these changes."""
    return replace(w.offer(w.alice), **changes)  # type: ignore[arg-type]


def with_leaf(w: World, **changes: object) -> Offer:
    """Alice's offer, her certificate changed and signed by the authority nevertheless."""
    offer = w.offer(w.alice)
    return replace(offer, certificate=forged(offer.certificate, w.authority, **changes))  # type: ignore[arg-type]


def intermediate(w: World) -> bytes:
    """The other authority's key, made an authority by ours."""
    return forged(
        w.leaf(w.alice), w.authority, subject=key_subject("Between"), public_key=w.other.key.public_key(), put=[CA_TRUE]
    )


def key_subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def of_intermediate(w: World) -> Offer:
    offer = w.offer(w.alice)
    return replace(offer, certificate=forged(offer.certificate, w.other, issuer=key_subject("Between")))


def with_intermediate_beside(w: World) -> Offer:
    offer = of_intermediate(w)
    return replace(offer, certificate=offer.certificate + intermediate(w))


def self_signed(w: World) -> Offer:
    offer = w.offer(w.alice)
    return replace(offer, certificate=forged(offer.certificate, w.alice, issuer=w.alice.holder.subject))


def self_signed_as_root(w: World) -> Offer:
    """Alice makes an authority of her own key and offers its root with her certificate."""
    root = make_root(w.alice.key, name="Authority", not_before=CREATED, not_after=NOW + DAY)
    return replace(w.offer(w.alice), root=root)


def root_of_another_key(w: World) -> Offer:
    """The right fingerprint is in the other root's name, but its key does not recompute to it."""
    put = [(key_names(w.authority.fingerprint), False)]
    root = forged(w.other_root, w.other, issuer=w.root.certificate.subject, subject=w.root.certificate.subject, put=put)
    return replace(w.offer(w.alice), root=root)


def root_with(w: World, signer: Party, *put: tuple[x509.ExtensionType, bool]) -> Offer:
    return replace(w.offer(w.alice), root=forged(w.root_der, signer, put=put))


def ended_root(w: World) -> Offer:
    root = make_root(w.authority.key, name="Authority", not_before=CREATED, not_after=NOW - 1)
    return replace(w.offer(w.alice), root=root)


def revoked(w: World) -> Offer:
    offer = w.offer(w.alice)
    entry = Revocation(serial(offer), NOW, x509.ReasonFlags.key_compromise)
    return replace(offer, crl=w.crl(Revocation(99, NOW), entry))


def crl_of_another(w: World) -> Offer:
    """Signed by the other authority, under the name of ours."""
    return replace(w.offer(w.alice), crl=raw_crl(w, w.other))


def raw_crl(
    w: World,
    signer: Party,
    *extra: x509.ExtensionType,
    entry: x509.ExtensionType | None = None,
    entries: int = 1,
    issuer: x509.Name | None = None,
    identified: Party | None = None,
) -> bytes:
    """A list as somebody with another program might make it."""
    identified_key = (identified or w.authority).key.public_key()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or w.root.certificate.subject)
        .last_update(utc(NOW))
        .next_update(utc(NOW + DAY))
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(identified_key), critical=False)
    )
    for extension in extra:
        builder = builder.add_extension(extension, critical=True)
    if entry is not None:
        revoked = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(utc(NOW))
        for _ in range(entries):
            builder = builder.add_revoked_certificate(revoked.add_extension(entry, critical=False).build())
    return builder.sign(signer.private, hashes.SHA256()).public_bytes(Encoding.DER)


def with_crl(w: World, crl: bytes | None, highest: int = 0) -> Offer:
    return replace(w.offer(w.alice), crl=crl, highest_crl_number=highest)


def without(w: World, *extensions: x509.ObjectIdentifier) -> Offer:
    return with_leaf(w, without=extensions)


def with_role(w: World) -> Offer:
    """A bank in its subject and a customer by its purpose."""
    offer = w.offer(w.alice)
    holder = Holder("bank", "1001", "Alice")
    names = leaf_names(w.alice.fingerprint, holder, REQUEST_DIGEST)
    return replace(
        offer, certificate=forged(offer.certificate, w.authority, subject=holder.subject, put=[(names, False)])
    )


def doubled_names(w: World) -> x509.SubjectAlternativeName:
    names = leaf_names(w.alice.fingerprint, w.alice.holder, REQUEST_DIGEST)
    return x509.SubjectAlternativeName([*names, *key_names(w.bank.fingerprint)])


def other_crl(w: World) -> bytes:
    root = w.root
    other = replace(w, authority=w.other, root_der=w.other_root)
    assert other.root.fingerprint != root.fingerprint
    return other.crl()


def future_crl(w: World) -> bytes:
    return make_crl(w.authority.key, w.root, number=7, at=NOW + 301, next_update=NOW + DAY, revoked=())


MISTAKES: tuple[tuple[str, str, Callable[[World], Offer]], ...] = (
    ("certificate-present", "none", lambda w: alice(w, certificate=b"")),
    ("certificate-readable", "no certificate", lambda w: alice(w, certificate=b"0\x03\x02\x01\x01")),
    ("certificate-readable", "cut off", lambda w: alice(w, certificate=w.leaf(w.alice)[:-1])),
    ("certificate-readable", "byte after it", lambda w: alice(w, certificate=w.leaf(w.alice) + b"\0")),
    ("certificate-readable", "intermediate beside it", with_intermediate_beside),
    ("certificate-readable", "too long", lambda w: alice(w, certificate=b"0" * 9_000)),
    ("root-readable", "no certificate", lambda w: alice(w, root=b"0")),
    (
        "root-readable",
        "no creation time",
        lambda w: alice(w, root=forged(w.root_der, w.authority, without=[CREATION_TIME])),
    ),
    ("root-pinned", "other authority's root", lambda w: alice(w, root=w.other_root)),
    ("root-pinned", "other fingerprint pinned", lambda w: alice(w, ca_fingerprint=w.other.fingerprint)),
    ("root-pinned", "other key under our fingerprint", root_of_another_key),
    ("root-pinned", "creation time altered", lambda w: root_with(w, w.authority, (creation_time(CREATED + 1), False))),
    ("root-pinned", "Alice as authority", self_signed_as_root),
    ("root-signed", "signed by another", lambda w: root_with(w, w.other)),
    (
        "root-profile",
        "no authority",
        lambda w: root_with(w, w.authority, (x509.BasicConstraints(ca=False, path_length=None), True)),
    ),
    ("root-profile", "authorities below it", lambda w: root_with(w, w.authority, CA_TRUE)),
    (
        "root-profile",
        "other fingerprint named",
        lambda w: root_with(w, w.authority, (key_names(w.other.fingerprint), False)),
    ),
    (
        "root-profile",
        "other name",
        lambda w: alice(w, root=forged(w.root_der, w.authority, issuer=key_subject("X"), subject=key_subject("X"))),
    ),
    ("root-valid", "ended", ended_root),
    ("not-self-signed", "self-signed leaf", self_signed),
    (
        "issued-by-the-authority",
        "other authority of that name",
        lambda w: alice(w, certificate=forged(w.leaf(w.alice), w.other)),
    ),
    ("issued-by-the-authority", "by an intermediate", of_intermediate),
    (
        "issued-by-the-authority",
        "by a leaf",
        lambda w: alice(w, certificate=forged(w.leaf(w.alice), w.bank, issuer=w.bank.holder.subject)),
    ),
    ("already-valid", "a second early", lambda w: alice(w, at=NOW - 1)),
    ("not-expired", "a second late", lambda w: alice(w, at=ENDS)),
    ("end-entity", "leaf as authority", lambda w: with_leaf(w, put=[CA_TRUE])),
    ("end-entity", "intermediate as leaf", lambda w: alice(w, certificate=intermediate(w))),
    ("end-entity", "the root as leaf", lambda w: alice(w, certificate=w.root_der)),
    ("purpose", "customer's as bank's", lambda w: alice(w, role="bank", number="0000")),
    ("purpose", "bank's as customer's", lambda w: replace(w.offer(w.bank), role="customer")),
    (
        "purpose",
        "both purposes",
        lambda w: with_leaf(
            w, put=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False)]
        ),
    ),
    ("purpose", "no purpose", lambda w: without(w, ExtensionOID.EXTENDED_KEY_USAGE)),
    ("path", "no authority key identifier", lambda w: without(w, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)),
    (
        "path",
        "unknown critical extension",
        lambda w: with_leaf(w, put=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)]),
    ),
    (
        "profile",
        "unknown extension",
        lambda w: with_leaf(w, put=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), False)]),
    ),
    ("profile", "no creation time", lambda w: without(w, CREATION_TIME)),
    ("profile", "no request", lambda w: with_leaf(w, put=[(key_names(w.alice.fingerprint), False)])),
    ("profile", "other subject", lambda w: with_leaf(w, subject=key_subject("Alice"))),
    ("profile", "two numbers", lambda w: with_leaf(w, subject=x509.Name([*w.alice.holder.subject, *BOB.subject]))),
    (
        "profile",
        "other key's identifier",
        lambda w: with_leaf(w, put=[(x509.SubjectKeyIdentifier.from_public_key(w.bank.key.public_key()), False)]),
    ),
    (
        "profile",
        "signed with SHA-512",
        lambda w: alice(w, certificate=resigned(w.leaf(w.alice), w.authority, hashes.SHA512())),
    ),
    (
        "strong-digest",
        "signed with SHA-1",
        lambda w: alice(w, certificate=resigned(w.leaf(w.alice), w.authority, SHA1)),
    ),
    (
        "fingerprint",
        "another's named",
        lambda w: with_leaf(w, put=[(leaf_names(w.bank.fingerprint, w.alice.holder, REQUEST_DIGEST), False)]),
    ),
    ("fingerprint", "creation time altered", lambda w: with_leaf(w, put=[(creation_time(CREATED + 1), False)])),
    (
        "fingerprint",
        "key exchanged",
        lambda w: with_leaf(
            w,
            public_key=w.bank.key.public_key(),
            put=[(x509.SubjectKeyIdentifier.from_public_key(w.bank.key.public_key()), False)],
        ),
    ),
    ("strong-digest", "list signed with SHA-1", lambda w: with_crl(w, resigned(w.crl(), w.authority, SHA1))),
    ("root-signed", "signed with SHA-1", lambda w: alice(w, root=resigned(w.root_der, w.authority, SHA1))),
    (
        "root-signed",
        "said to be signed with SHA-1",
        lambda w: alice(w, root=resigned(w.root_der, w.authority, SHA1, hashes.SHA256())),
    ),
    (
        "crl-profile",
        "a certificate twice",
        lambda w: with_crl(w, raw_crl(w, w.authority, entry=SUPERSEDED, entries=2)),
    ),
    ("crl-by-the-authority", "other name", lambda w: with_crl(w, raw_crl(w, w.authority, issuer=key_subject("X")))),
    ("crl-profile", "other key named", lambda w: with_crl(w, raw_crl(w, w.authority, identified=w.other))),
    ("same-key", "another key", lambda w: alice(w, fingerprint=w.bank.fingerprint)),
    (
        "one-meaning",
        "number differs",
        lambda w: with_leaf(w, put=[(leaf_names(w.alice.fingerprint, BOB, REQUEST_DIGEST), False)]),
    ),
    ("one-meaning", "two fingerprints", lambda w: with_leaf(w, put=[(doubled_names(w), False)])),
    ("role", "role differs from purpose", lambda w: replace(with_role(w), role="customer")),
    ("number", "another's number", lambda w: alice(w, number="1002")),
    ("number", "leading zero", lambda w: alice(w, number="01001")),
    ("not-revoked", "revoked", revoked),
    ("crl-present", "missing, though one was seen", lambda w: with_crl(w, None, 1)),
    ("crl-readable", "no list", lambda w: with_crl(w, b"")),
    ("crl-readable", "byte after it", lambda w: with_crl(w, w.crl() + b"\0")),
    ("crl-by-the-authority", "of another authority", lambda w: with_crl(w, other_crl(w))),
    ("crl-by-the-authority", "of another under our name", crl_of_another),
    ("crl-profile", "changes only", lambda w: with_crl(w, raw_crl(w, w.authority, x509.DeltaCRLIndicator(1)))),
    (
        "crl-profile",
        "a hold",
        lambda w: with_crl(w, raw_crl(w, w.authority, entry=x509.CRLReason(x509.ReasonFlags.certificate_hold))),
    ),
    (
        "crl-profile",
        "entry with a date of its own",
        lambda w: with_crl(w, raw_crl(w, w.authority, entry=x509.InvalidityDate(utc(NOW)))),
    ),
    ("crl-newest", "older than one seen", lambda w: with_crl(w, w.crl(number=6), 7)),
    ("crl-already-valid", "from the future", lambda w: alice(w, crl=future_crl(w))),
    ("crl-current", "past its next update", lambda w: alice(w, at=NOW + 30 * DAY + 1)),
)
