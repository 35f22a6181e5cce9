"""Who a key belongs to is read from the authority's own certification of it, checked by gpg, and from nowhere else.

A certification is a signature over key and user ID (RFC 4880, section 5.2.1, classes 10 to 13) that carries customer
number, role and the request's digest as notations (section 5.2.3.16). What is doubtful is refused: `NotCertified`.
"""

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from keyring import colons, keys, process
from keyring.colons import Key, Signature, UserId
from keyring.errors import EngineError, KeyringError, NotCertified, PassphraseError, UnsuitableKey
from keyring.home import Home
from protocol.secret import Secret

NOTATION_DOMAIN: Final = "countersign.example"
REQUIRED_NOTATIONS: Final = ("number", "role", "request")
EXTRA_NOTATIONS: Final = ("confirmed-by", "confirmed-at", "reached-by", "succeeds")
ROLES: Final = ("customer", "bank")
VALUE_LIMIT_BYTES: Final = 200
DAYS_LIMIT: Final = 3660
DAY_SECONDS: Final = 86_400

_VALUE_FORMS: Final = MappingProxyType(
    {
        "number": re.compile(r"[0-9A-Za-z-]{1,16}"),
        "role": re.compile("|".join(ROLES)),
        "request": re.compile(r"[0-9a-f]{64}"),
        "succeeds": re.compile(r"[0-9A-F]{40}"),
    }
)
_STRONG_DIGESTS: Final = frozenset({8, 9, 10})  # SHA-256, -384, -512
_REVOCATION_CLASS: Final = 0x30
_BAD_PASSPHRASE_CODE: Final = 11


@dataclass(frozen=True)
class Certification:
    """What the authority vouches for: this key, under this user ID, is customer ``number`` in this ``role``.

    ``request_digest`` is the SHA-256 of the request, 64 lower-case hex; times are unix seconds; ``certifier`` is the
    authority's fingerprint. The next three tell how the request was confirmed, "" where that was not recorded;
    ``succeeds`` is the fingerprint of the key that vouched for this one, "" where none did.
    """

    number: str
    role: str
    request_digest: str
    created: int
    expires: int
    certifier: str
    user_id: str
    confirmed_by: str = ""
    confirmed_at: str = ""
    reached_by: str = ""
    succeeds: str = ""


@dataclass(frozen=True)
class CaTemplate:
    """A folder in which the authority's key is imported and trusted; every small home begins as a copy of it."""

    path: Path
    ca_fingerprint: str

    @classmethod
    def create(cls, path: Path, ca_key: bytes, ca_fingerprint: str) -> "CaTemplate":
        """Make the folder; it is removed again if the key is refused. Raises KeyringError."""
        home = Home.create(path, own_keys=False)
        try:
            keys.import_key(home, ca_key, expected_fingerprint=ca_fingerprint)
            keys.trust_ca(home, ca_fingerprint)
        except BaseException:
            _remove(home)
            raise
        return cls(home.path, ca_fingerprint)

    def copy(self, path: Path) -> Home:
        """A new home at ``path`` that holds the authority's key and trusts it."""
        home = Home.create(path, own_keys=False)
        try:
            for name in ("pubring.kbx", "trustdb.gpg"):
                shutil.copyfile(self.path / name, home.path / name)
        except OSError as error:
            _remove(home)
            raise EngineError(f"The template {self.path} cannot be copied ({error.strerror}); make it anew.") from None
        return home


def certify(
    home: Home,
    fingerprint: str,
    user_id: str,
    *,
    number: str,
    role: str,
    request_digest: str,
    days: int,
    passphrase: Secret,
    notations: Mapping[str, str],
    certifier: str | None = None,
    begins: int | None = None,
    until: int | None = None,
) -> None:
    """Certify exactly ``user_id`` of a key in the authority's home for ``days`` days; a second time renews it.

    It counts from ``begins`` (unix seconds, by default now), never from before the keys were made or what it renews
    began; with ``until`` it ends then in place of after ``days``, which count from now. ``notations`` are further ones,
    by their short names in EXTRA_NOTATIONS. ``certifier`` may be left out where the home has one secret key. Raises
    PassphraseError, UnsuitableKey if the key is not as confirmed, and KeyringError if a value cannot be written down or
    a valid certification says something else.
    """
    wanted = {"number": number, "role": role, "request": request_digest, **notations}
    if not 1 <= days <= DAYS_LIMIT:
        raise KeyringError(f"A certification lasts 1 to {DAYS_LIMIT} days, not {days}; choose a number between.")
    arguments = [f"--cert-notation={_notation_argument(name, value)}" for name, value in wanted.items()]
    authority = certifier or keys.only_certifier(home)
    key = keys.public_key(home, fingerprint)
    keys.require_suitable(key)
    if [each.text for each in key.user_ids] != [user_id]:
        raise UnsuitableKey(
            f"The key {fingerprint} does not have the confirmed name as its one user ID; ask for another."
        )
    earlier = _require_no_contradiction(home, fingerprint, authority, number, role)
    now = int(time.time())
    made_at = (key.primary.created, keys.public_key(home, authority).primary.created)
    ends = now + days * DAY_SECONDS if until is None else until
    wished = now if begins is None else begins
    begins = min(now, max(wished, *made_at, earlier.created + 1 if earlier else 0))
    expiry = f"seconds={ends - begins}"
    outcome = process.run(
        home,
        *("--no-auto-check-trustdb", "--cert-digest-algo", "SHA256", "--default-cert-expire", expiry),
        *("--local-user", f"{authority}!", "--force-sign-key", *arguments, "--quick-sign-key", fingerprint, user_id),
        passphrase=passphrase,
        faked_time=begins if begins < now else None,
    )
    try:
        made = read_certification(home, fingerprint, authority)
    except NotCertified:
        raise _not_made(outcome, home) from None
    said = {"number": made.number, "role": made.role, "request": made.request_digest, **_extras(made)}
    if made.created < begins or made.expires < ends or {name: value for name, value in said.items() if value} != wanted:
        raise _not_made(outcome, home)


def revoke(home: Home, fingerprint: str, *, passphrase: Secret, certifier: str | None = None) -> None:
    """Revoke the authority's certifications of a key in its home. Raises PassphraseError or EngineError."""
    authority = certifier or keys.only_certifier(home)
    arguments = ("--no-auto-check-trustdb", "--quick-revoke-sig", keys.checked_fingerprint(fingerprint), authority)
    outcome = process.run(home, *arguments, passphrase=passphrase)
    try:
        read_certification(home, fingerprint, authority)
    except NotCertified:
        return
    raise _not_made(outcome, home)


def read_certification(home: Home, fingerprint: str, ca_fingerprint: str, *, at: int | None = None) -> Certification:
    """The authority's valid certification of a key in ``home``, now or at another time (``at``, unix seconds).

    Of several that say the same the latest counts. Raises NotCertified with the rule that is broken, UnsuitableKey if
    the key is not in the home. gpg's own trust in the key is not looked at; `judged_home` looks at both.
    """
    return _certification(_checked(home, fingerprint, at, "--no-auto-check-trustdb"), ca_fingerprint, at)


def judged_home(
    path: Path,
    *,
    ca_key: bytes,
    ca_fingerprint: str,
    offered: bytes,
    expected_fingerprint: str | None,
    template: CaTemplate | None = None,
    at: int | None = None,
) -> tuple[Home, Certification, str]:
    """A new small home at ``path`` with the authority's key and the offered one, its certification, its fingerprint.

    Both gpg's trust in the key and our reading of the certification must agree. With ``template`` the authority's key
    is not imported again (two gpg processes in all). Whatever is refused leaves no folder behind: PacketError,
    UnsuitableKey, NotCertified, EngineError.
    """
    fingerprint = keys.public_key_fingerprint(offered, expected_fingerprint)
    if template is None:
        home = Home.open(CaTemplate.create(path, ca_key, ca_fingerprint).path)
    elif template.ca_fingerprint == ca_fingerprint:
        home = template.copy(path)
    else:
        raise UnsuitableKey(
            f"The template {template.path} is for another authority than {ca_fingerprint}; make it anew."
        )
    try:
        # Whole, not cleaned: import-clean leaves out older certifications and revocations, which we want to see.
        _import(home, offered, fingerprint, "no-import-clean,no-import-minimal", at)
        key = _checked(home, fingerprint, at, "--auto-check-trustdb")
        keys.require_suitable(key, several_user_ids=True)
        certification = _certification(key, ca_fingerprint, at)
        _require_trust(key, certification)
    except BaseException:
        _remove(home)
        raise
    return home, certification, fingerprint


def registered_home(path: Path, *, key: bytes, expected_fingerprint: str) -> Home:
    """A new small home at ``path`` with one registered key, for which no authority vouches.

    Raises PacketError, UnsuitableKey, UserIdError or EngineError, and leaves no folder behind.
    """
    fingerprint = keys.public_key_fingerprint(key, expected_fingerprint)
    home = Home.create(path, own_keys=False)
    try:
        _import(home, key, fingerprint, "import-minimal", None)
        keys.require_suitable(keys.public_key(home, fingerprint))
    except BaseException:
        _remove(home)
        raise
    return home


def _checked(home: Home, fingerprint: str, at: int | None, trust: str) -> Key:
    """The key with its signatures, each checked by gpg in this very listing, and their notations."""
    outcome = process.run(
        home,
        *(trust, "--with-colons", "--with-fingerprint", "--with-fingerprint"),
        *("--list-options", "show-sig-subpackets=20", "--check-sigs", keys.checked_fingerprint(fingerprint)),
        faked_time=at,
    )
    found = colons.parse(outcome.output)
    if [key.fingerprint for key in found] != [fingerprint]:
        raise UnsuitableKey(f"The key {fingerprint} is not in {home.path}; import it first.")
    return found[0]


def _certification(key: Key, ca_fingerprint: str, at: int | None) -> Certification:
    keys.checked_fingerprint(ca_fingerprint)
    if any(part.key_id == ca_fingerprint[-16:] for part in key.parts):
        raise NotCertified("not-the-authority", "The key is the authority's own; a party needs a key of its own.")
    now = int(time.time()) if at is None else at
    made = [(each, one) for each in key.user_ids for one in each.signatures if _is_by(one, ca_fingerprint)]
    certifications = [(each, one) for each, one in made if one.certifies]
    if not certifications:
        raise NotCertified(
            "certified",
            f"The authority has not certified the key {key.fingerprint}; ask for a certificate, then fetch it.",
        )
    faults = [_fault(each, one, ca_fingerprint, now) for each, one in certifications]
    valid = [found for found, fault in zip(certifications, faults, strict=True) if fault is None]
    if not valid:
        newest = max(range(len(faults)), key=lambda place: certifications[place][1].created)
        raise faults[newest] or NotCertified("certified", "The key is not certified.")
    if len({each.text for each, _ in valid}) != 1:
        raise NotCertified(
            "one-user-id", f"The authority certified several user IDs of {key.fingerprint}; it must be one."
        )
    read = [_read(each, one, ca_fingerprint) for each, one in valid]
    if len({(one.number, one.role) for one in read}) != 1:
        raise NotCertified(
            "one-meaning", f"Two valid certifications of {key.fingerprint} name different numbers or roles; revoke one."
        )
    return max(read, key=lambda one: (one.created, one.expires))


def _is_by(signature: Signature, ca_fingerprint: str) -> bool:
    """gpg verifies with the key that the key ID names; the fingerprint shown is only what the signer wrote into it.

    So both must be the authority's: anyone can make a good signature that claims its fingerprint.
    """
    return signature.good and signature.key_id == ca_fingerprint[-16:] and signature.fingerprint == ca_fingerprint


def _fault(each: UserId, signature: Signature, ca_fingerprint: str, now: int) -> NotCertified | None:
    """Why a certification by the authority does not count, or None."""
    # A revocation of the same second revokes; gpg would let the certification win.
    if any(
        other.kind == "rev"
        and other.signature_class == _REVOCATION_CLASS
        and _is_by(other, ca_fingerprint)
        and other.created >= signature.created
        for other in each.signatures
    ):
        return NotCertified(
            "not-revoked", "The authority has revoked its certification of this key; ask it for another."
        )
    if signature.digest not in _STRONG_DIGESTS:
        return NotCertified(
            "strong-digest", "The certification is made with a weak digest; ask for another with SHA-256."
        )
    if signature.created > now:
        return NotCertified("not-yet-valid", "The certification is dated in the future; compare the clocks.")
    if signature.expires is None:
        return NotCertified("limited", "The certification has no end, and the authority makes none such; ask it.")
    if signature.expires <= now:
        return NotCertified("not-expired", "The certification of this key has expired; have it renewed.")
    return None


def _read(each: UserId, signature: Signature, ca_fingerprint: str) -> Certification:
    values: dict[str, str] = {}
    for subpacket in signature.subpackets:
        notation = subpacket.notation()
        if notation is None or not notation.name.endswith(f"@{NOTATION_DOMAIN}"):
            continue
        if not subpacket.hashed:
            raise NotCertified("signed-notations", "Someone else added a notation to the certification; fetch it anew.")
        name = notation.name.removesuffix(f"@{NOTATION_DOMAIN}")
        if name in values:
            raise NotCertified("single-notations", f"The certification says {name!a} twice; ask for another.")
        if not notation.human_readable or not _is_writable(name, notation.text):
            raise NotCertified(
                "readable-notations", f"The certification has no readable value of {name!a}; ask for another."
            )
        values[name] = notation.text
    missing = [name for name in REQUIRED_NOTATIONS if name not in values]
    if missing:
        raise NotCertified("notations", f"The certification does not say {' and '.join(missing)}; ask for another.")
    return Certification(
        number=values["number"],
        role=values["role"],
        request_digest=values["request"],
        created=signature.created,
        expires=signature.expires or 0,  # never 0: _fault refuses those without an end
        certifier=ca_fingerprint,
        user_id=each.text,
        confirmed_by=values.get("confirmed-by", ""),
        confirmed_at=values.get("confirmed-at", ""),
        reached_by=values.get("reached-by", ""),
        succeeds=values.get("succeeds", ""),
    )


def _require_trust(key: Key, certification: Certification) -> None:
    certified = [each.validity for each in key.user_ids if each.text == certification.user_id]
    if key.primary.validity != "f" or certified != ["f"]:
        raise NotCertified("trusted", f"GnuPG does not fully trust the key {key.fingerprint} by the certification.")


def _require_no_contradiction(
    home: Home, fingerprint: str, authority: str, number: str, role: str
) -> Certification | None:
    """The valid certification there is already, if it says the same."""
    try:
        earlier = read_certification(home, fingerprint, authority)
    except NotCertified:
        return None
    if (earlier.number, earlier.role) != (number, role):
        raise KeyringError(
            f"The key {fingerprint} is certified for {earlier.role} {earlier.number}; revoke that before."
        )
    return earlier


def _extras(made: Certification) -> dict[str, str]:
    values = (made.confirmed_by, made.confirmed_at, made.reached_by, made.succeeds)
    return dict(zip(EXTRA_NOTATIONS, values, strict=True))


def _notation_argument(name: str, value: str) -> str:
    if name not in REQUIRED_NOTATIONS + EXTRA_NOTATIONS:
        raise KeyringError(f"A certification has no notation {name!a}; known are {', '.join(EXTRA_NOTATIONS)}.")
    if not value or not _is_writable(name, value):
        raise KeyringError(f"The value {value!a} cannot be written into a certification as its {name}; correct it.")
    doubled = value.replace("%", "%%")  # gpg expands %-sequences
    return f"{name}@{NOTATION_DOMAIN}={doubled}"


def _is_writable(name: str, value: str) -> bool:
    form = _VALUE_FORMS.get(name)
    if form is not None:
        return form.fullmatch(value) is not None
    # Surrogates, which stand for bytes that are not UTF-8, are not printable either.
    return value.isprintable() and len(value.encode()) <= VALUE_LIMIT_BYTES


def _not_made(outcome: process.Outcome, home: Home) -> KeyringError:
    codes = {
        int(code) & 0xFFFF for code in re.findall(rb"^\[GNUPG:\] (?:ERROR|FAILURE) \S+ (\d+)$", outcome.status, re.M)
    }
    if _BAD_PASSPHRASE_CODE in codes or "Bad passphrase" in outcome.log:
        return PassphraseError(f"The passphrase does not open the authority's key in {home.path}; nothing was signed.")
    return EngineError(f"GnuPG did not sign in {home.path}; look with `gpg --homedir {home.path} --check-sigs`.")


def _import(home: Home, data: bytes, fingerprint: str, options: str, at: int | None) -> None:
    """Without python-gnupg, whose two processes and three threads would double the time until a session opens."""
    outcome = process.run(home, "--import-options", options, "--import", stdin=data, faked_time=at)
    if f"[GNUPG:] IMPORT_OK 1 {fingerprint}".encode() not in outcome.status.split(b"\n"):
        raise UnsuitableKey("GnuPG does not take this as one new public key with a valid user ID; export it anew.")


def _remove(home: Home) -> None:
    home.stop()
    shutil.rmtree(home.path, ignore_errors=True)
