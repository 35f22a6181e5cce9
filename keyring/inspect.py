"""A home is looked at without changing a byte in it and without starting anything for it.

gpg runs in a scratch home and is only pointed at the key file and the trust database of the home in question, without
locks and without trust checks. Whether a secret key is present is seen from the file named after its keygrip.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyring import colons, numbers, process, readout
from keyring.errors import EngineError, HomeError, KeyringError, ReadoutError
from keyring.home import Home

__all__ = [
    "KeyReport",
    "Name",
    "Part",
    "Voucher",
    "choose",
    "dearmored",
    "find_home",
    "read_keys",
    "report",
]

VALIDITY = {
    "u": "ultimate: this home takes it for its own, or for the authority's",
    "f": "full: certified by a key that this home trusts",
    "m": "marginal: certified, but only by keys that are half trusted",
    "n": "never: this home was told not to trust it",
    "-": "unknown: nobody whom this home trusts has certified it",
    "q": "unknown: nobody whom this home trusts has certified it",
    "o": "unknown: the key is new to this home",
    "r": "revoked: it must not be used any more",
    "e": "expired: its time is over",
    "i": "invalid: it does not even certify itself",
    "d": "disabled: this home was told not to use it",
}
CAPABILITIES = {"s": "sign", "c": "certify", "e": "encrypt", "a": "authenticate"}
CHECKS = {
    "!": "good",
    "-": "BAD: the signature is not the certifier's",
    "?": "not checked: the certifier's key is not in this home",
    "%": "not checked: gpg could not check it",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A primary key or subkey. Times are Unix seconds; ``secret`` says whether its secret key is in the home."""

    fingerprint: str
    keygrip: str
    algorithm: str
    capabilities: tuple[str, ...]
    created: int
    expires: int | None
    validity: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Voucher:
    """A certification of a user ID, or its revocation.

    ``certifier`` is a fingerprint, or a key ID if the key is not here; times are Unix seconds.
    """

    certifier: str
    user_id: str
    own: bool
    revocation: bool
    check: str
    created: int
    expires: int | None
    expired: bool
    notations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A user ID of a key and who vouches for it."""

    user_id: str
    validity: str
    vouchers: tuple[Voucher, ...]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """One key in full; ``usable`` is what the whole key may still be used for, ``revoked`` if its owner revoked it."""

    primary: Part
    subkeys: tuple[Part, ...]
    names: tuple[Name, ...]
    usable: tuple[str, ...]
    revoked: bool

    @property
    def fingerprint(self) -> str:
        return self.primary.fingerprint


def find_home(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The GnuPG home meant: the one given, else GNUPGHOME, else ~/.gnupg. A party's home stands for its ``gnupg``.

    Raises HomeError when there is no such folder or no key file in it.
    """
    path = given or Path(environment.get("GNUPGHOME") or Path.home() / ".gnupg")
    if (path / "gnupg").is_dir():
        path = path / "gnupg"
    if not path.is_dir():
        raise HomeError(f"There is no folder {path}; name a GnuPG home, or a party's home, with --home.")
    _key_file(path)
    return path


def read_keys(path: Path, *fingerprints: str, check: bool = False) -> tuple[colons.Key, ...]:
    """The keys in a home, or only those of the fingerprints; with ``check`` every signature on them is verified.

    Raises HomeError when the home has no keys, EngineError when gpg cannot list them.
    """
    command = "--check-sigs" if check else "--list-keys"
    options = ["--with-colons", "--with-fingerprint", "--with-fingerprint", "--with-keygrip"]
    options += ["--list-options", "show-sig-subpackets=20", "--trust-model", "auto"]
    options += ["--no-default-keyring", "--keyring", str(_key_file(path).absolute())]
    trust = path / "trustdb.gpg"
    if trust.is_file():
        options += ["--trustdb-name", str(trust.absolute())]
    with _scratch_home() as scratch:
        outcome = process.run(scratch, "--no-autostart", "--lock-never", *options, command, "--", *fingerprints)
    if outcome.exit_code != 0:
        raise EngineError(f"gpg could not list the keys in {path}: {outcome.log.strip()[-300:]}")
    keys = colons.parse(outcome.output)
    if not keys:
        raise _no_keys(path)
    return keys


def choose(keys: tuple[colons.Key, ...], wanted: str) -> colons.Key:
    """The one key that ``wanted`` names: by fingerprint (hex, words or digits), by key ID, or by part of a user ID.

    Raises KeyringError when none or several match.
    """
    tests: list[Callable[[colons.Key], bool]] = [lambda key: wanted.casefold() in " ".join(_user_ids(key)).casefold()]
    suffix = re.sub(r"\s|^0x", "", wanted, flags=re.IGNORECASE).upper()
    if re.fullmatch("[0-9A-F]{8,40}", suffix):
        tests.insert(0, lambda key: any(part.fingerprint.endswith(suffix) for part in key.parts))
    try:
        fingerprint = readout.parse(wanted)
        tests.insert(0, lambda key: any(part.fingerprint == fingerprint for part in key.parts))
    except ReadoutError:
        pass
    for test in tests:
        found = [key for key in keys if test(key)]
        if len(found) == 1:
            return found[0]
        if found:
            names = "; ".join(f"{key.fingerprint} {', '.join(_user_ids(key))}" for key in found)
            raise KeyringError(f"Several keys match {wanted!a}; name one by its fingerprint: {names}")
    raise KeyringError(f"No key in this home matches {wanted!a}; 'keyring list' shows those that there are.")


def report(path: Path, key: colons.Key, others: tuple[colons.Key, ...], *, now: int) -> KeyReport:
    """All about a key of ``read_keys(check=True)``; certifiers are sought in ``others``, ``now`` is in Unix seconds."""
    signers = {other.primary.key_id: other for other in others}
    return KeyReport(
        primary=_part(path, key.primary),
        subkeys=tuple(_part(path, subkey) for subkey in key.subkeys),
        names=tuple(
            Name(name.text, validity_in_words(name.validity), tuple(_vouchers(key, name, signers, now)))
            for name in key.user_ids
            if not name.attribute
        ),
        usable=capabilities_in_words(key.primary.usable),
        revoked=any(s.signature_class == 0x20 and s.made_by(key.fingerprint) for s in key.primary.signatures),
    )


def capabilities_in_words(letters: str) -> tuple[str, ...]:
    """``sc`` as ``("sign", "certify")``."""
    return tuple(meaning for letter, meaning in CAPABILITIES.items() if letter in letters)


def validity_in_words(letter: str) -> str:
    """One word, a colon, and what it means."""
    return VALIDITY.get(letter, VALIDITY["-"])


def algorithm_in_words(part: colons.KeyPart) -> str:
    """``RSA-3072``, ``Ed25519``, ``cv25519``: the curve's own name where there is one."""
    return part.curve or f"{numbers.name(numbers.PUBLIC_KEY, part.algorithm)}-{part.bits}"


def has_secret(path: Path, keygrip: str) -> bool:
    """Whether the home's agent has a key file of that name; a smart card's stub counts, since it can be used."""
    return bool(keygrip) and (path / "private-keys-v1.d" / f"{keygrip}.key").is_file()


def dearmored(data: bytes) -> bytes:
    """The binary form of a file that may be in ASCII armour; of a cleartext signature only the signature.

    Raises EngineError when gpg cannot take the armour off.
    """
    if not data or data[0] & 0x80 or b"-----BEGIN PGP" not in data:
        return data
    signature = data.find(b"-----BEGIN PGP SIGNATURE")
    if data.lstrip().startswith(b"-----BEGIN PGP SIGNED MESSAGE") and signature > 0:
        data = data[signature:]
    with _scratch_home() as scratch:
        outcome = process.run(scratch, "--no-autostart", "--dearmor", stdin=data)
    if outcome.exit_code != 0 or not outcome.output:
        raise EngineError("The ASCII armour of the file is damaged; gpg cannot take it off. Save the file again.")
    return outcome.output


def _part(path: Path, part: colons.KeyPart) -> Part:
    return Part(
        fingerprint=part.fingerprint,
        keygrip=part.keygrip,
        algorithm=algorithm_in_words(part),
        capabilities=capabilities_in_words(part.capabilities),
        created=part.created,
        expires=part.expires,
        validity=validity_in_words(part.validity),
        secret=has_secret(path, part.keygrip),
    )


def _vouchers(key: colons.Key, name: colons.UserId, signers: Mapping[str, colons.Key], now: int) -> Iterator[Voucher]:
    for signature in name.signatures:
        signer = signers.get(signature.key_id)
        fingerprint = signer.fingerprint if signer else ""
        check = CHECKS.get(signature.check, CHECKS["%"])
        if signature.good and signature.fingerprint not in ("", fingerprint):
            check = f"BAD: it claims to be made by {signature.fingerprint}, which it is not"
        yield Voucher(
            certifier=fingerprint or signature.fingerprint or signature.key_id,
            user_id=", ".join(_user_ids(signer)[:1]) if signer else "",
            own=fingerprint == key.fingerprint,
            revocation=not signature.certifies,
            check=check,
            created=signature.created,
            expires=signature.expires,
            expired=signature.expires is not None and signature.expires <= now,
            notations=tuple((notation.name, notation.text) for notation in signature.notations),
        )


def _user_ids(key: colons.Key) -> tuple[str, ...]:
    return tuple(name.text for name in key.user_ids if not name.attribute)


def _key_file(path: Path) -> Path:
    """gpg's own choice: the keybox, else the old key file. Raises HomeError when there is neither."""
    for name in ("pubring.kbx", "pubring.gpg"):
        if (path / name).is_file():
            return path / name
    if (path / "public-keys.d").is_dir():
        raise HomeError(f"The keys of {path} are kept by GnuPG's keyboxd; export them and use 'keyring packets'.")
    raise _no_keys(path)


def _no_keys(path: Path) -> HomeError:
    return HomeError(f"There are no keys in {path}; name another home with --home, or make a key there first.")


@contextmanager
def _scratch_home() -> Iterator[Home]:
    """An empty home, gone again afterwards; no agent can start for it."""
    with tempfile.TemporaryDirectory(prefix="cs-inspect-") as folder:
        yield Home.create(Path(os.path.realpath(folder)) / "g", own_keys=False)
