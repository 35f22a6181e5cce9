"""Keys are made, taken in and given out here; what came of it is read back from gpg's own listing and never assumed.

python-gnupg runs gpg for these rare tasks. Its reading of the answer decides nothing (it mixes status and log); inputs
are checked before it sees them, and `keyring.colons` says what is really in the home.
"""

import hashlib
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyring import colons, packets, process
from keyring.colons import Key, KeyPart
from keyring.errors import EngineError, PassphraseError, UnsuitableKey, UserIdError
from keyring.home import Home
from protocol.letter import is_domain
from protocol.secret import Secret

if TYPE_CHECKING:
    import gnupg

KEY_LIMIT_BYTES: Final = 32 * 1024
USER_ID_LIMITS: Final = (5, 64)  # characters; gpg refuses shorter ones
PASSPHRASE_LIMIT_BYTES: Final = 255
_SHOWN_CHARACTERS: Final = 40  # of a wrong value, in the sentence about it
SMALLEST_RSA_BITS: Final = 3072
CA_BITS: Final = (3072, 4096)

RSA: Final = 1
_ALGORITHM_NAMES: Final = {1: "rsa", 16: "elgamal", 17: "dsa", 18: "ecdh", 19: "ecdsa", 22: "eddsa"}
_PUBLIC_KEY, _SIGNATURE, _USER_ID, _PUBLIC_SUBKEY, _SECRET_KEY, _SECRET_SUBKEY = 6, 2, 13, 14, 5, 7
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_NUMBER = re.compile(r"[0-9A-Za-z-]{1,16}")
_ADDRESS = re.compile(r" <(?P<number>[0-9]{1,16})@(?P<domain>[^@<>]{1,64})>\Z")
_PUNCTUATION: Final = frozenset(" .,'-&()")
# Letters and marks that show nothing; in a name they could only deceive.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


@dataclass(frozen=True)
class BankKey:
    """The fingerprints of a bank's RSA-3072 primary key and of its Ed25519 and cv25519 subkeys."""

    primary: str
    signing: str
    encryption: str


def user_id(name: str, number: str, domain: str = "") -> str:
    """The user ID "Name (number)", or "Name (number) <number@domain>", in Unicode's composed form.

    Raises UserIdError, naming the character at fault.
    """
    if not _NUMBER.fullmatch(number):
        raise UserIdError(
            f"The number {number[:_SHOWN_CHARACTERS]!a} cannot stand in a key; "
            "use 1 to 16 letters A-Z, a-z, digits and hyphens."
        )
    address = f" <{number}@{domain}>" if domain else ""
    return checked_user_id(f"{unicodedata.normalize('NFC', name)} ({number}){address}")


def without_address(text: str) -> str:
    """A user ID of ours without its mail address: "Name (number)"."""
    found = _ADDRESS.search(text)
    if found is None or not is_domain(found["domain"]):
        return text
    name = text[: found.start()]
    return name if name.endswith(f" ({found['number']})") else text


def checked_user_id(text: str) -> str:
    """``text`` itself, if it may be a user ID of ours: 5 to 64 letters of any script, digits, spaces and .,'-&()

    After a number in parentheses may follow the mail address <number@domain>.
    """
    _require_name(without_address(text))
    return text


def _require_name(text: str) -> None:
    shortest, longest = USER_ID_LIMITS
    if not shortest <= len(text) <= longest:
        raise UserIdError(f"A name in a key has {shortest} to {longest} characters with its number, not {len(text)}.")
    for position, character in enumerate(text, 1):
        if not _allowed(character):
            shown = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
            raise UserIdError(
                f"The character {shown} (place {position}) cannot stand in a name; use letters, digits, space, .,'-&()"
            )
    if text != text.strip():
        raise UserIdError("A name in a key is not empty, and neither begins nor ends with a space.")
    if not unicodedata.category(text[0]).startswith("L"):
        raise UserIdError("A name in a key begins with a letter; put one first.")
    if text != unicodedata.normalize("NFC", text):
        raise UserIdError("The name is not in Unicode's composed form (NFC); type it again.")


def new_customer_key(home: Home, user_id: str, passphrase: Secret | None, ask: bool = False) -> str:
    """Make RSA-3072 (sign, certify) with a cv25519 encryption subkey, without an end; returns the fingerprint.

    The passphrase is the one given, or with ``ask`` pinentry asks for it; with neither the key is not protected.
    Raises UserIdError, PassphraseError, EngineError.
    """
    return _generate(home, user_id, _PRIMARY + _ENCRYPTION_SUBKEY, passphrase, ask=ask).fingerprint


def new_bank_key(home: Home, user_id: str) -> BankKey:
    """Make the bank's key: as a customer's, with an Ed25519 signing subkey for the heads, not protected."""
    primary = _generate(home, user_id, _PRIMARY + _ENCRYPTION_SUBKEY, None).fingerprint
    # An empty passphrase, over loopback, so that gpg asks nobody for one.
    _gpg(home).add_subkey(primary, master_passphrase="", algorithm="ed25519", usage="sign", expire="0")
    subkeys = secret_key(home, primary).subkeys
    by_capability = {part.capabilities: part.fingerprint for part in subkeys if part.secret}
    if len(subkeys) != 2 or by_capability.keys() != {"e", "s"}:
        raise EngineError(f"GnuPG did not make the bank's subkeys in {home.path}; begin again with a new folder.")
    return BankKey(primary, by_capability["s"], by_capability["e"])


def new_ca_key(home: Home, user_id: str, passphrase: Secret, bits: int = 3072) -> str:
    """Make the certificate authority's key: RSA, certify only, 3072 or 4096 bits; returns the fingerprint."""
    if bits not in CA_BITS:
        raise UnsuitableKey(f"The authority's key has 3072 or 4096 bits, not {bits}; choose one of these.")
    return _generate(home, user_id, ("Key-Type: RSA", f"Key-Length: {bits}", "Key-Usage: cert"), passphrase).fingerprint


def export(home: Home, fingerprint: str) -> bytes:
    """The public key, binary, with all its signatures. Raises UnsuitableKey if it is not in the home."""
    return _exported(home, fingerprint, minimal=False)


def export_minimal(home: Home, fingerprint: str) -> bytes:
    """The public key, binary, with the newest self-signatures only: certifications by others are left out."""
    return _exported(home, fingerprint, minimal=True)


def import_key(
    home: Home,
    data: bytes,
    *,
    expected_fingerprint: str | None,
    clean: bool = False,
    several_user_ids: bool = False,
) -> str:
    """Take one public key into ``home`` and return its fingerprint; a key that is refused leaves no trace there.

    Without ``clean`` certifications by others are dropped (import-minimal), also those that an earlier copy in the home
    has. With it they stay if they can be verified (import-clean): the authority's key must be in the home before.
    The key must be RSA with at least 3072 bits, with one user ID of ours, at most 32 KiB, with no secret part. Raises
    PacketError, UnsuitableKey, UserIdError.
    """
    fingerprint = public_key_fingerprint(data, expected_fingerprint)
    require_suitable(_shown(data, fingerprint), several_user_ids=several_user_ids)
    _gpg(home).import_keys(data, extra_args=["--import-options", "import-clean" if clean else "import-minimal"])
    require_suitable(public_key(home, fingerprint), several_user_ids=several_user_ids)
    return fingerprint


def trust_ca(home: Home, fingerprint: str) -> None:
    """Let the key with ``fingerprint``, which is in ``home``, vouch for others there (ultimate owner trust)."""
    process.run(home, "--import-ownertrust", stdin=f"{checked_fingerprint(fingerprint)}:6:\n".encode())
    process.run(home, "--check-trustdb")
    if public_key(home, fingerprint).primary.owner_trust != "u":
        raise EngineError(f"GnuPG does not trust the key {fingerprint} in {home.path}; make that home anew.")


def public_key_fingerprint(data: bytes, expected: str | None = None) -> str:
    """The fingerprint of the one public key in ``data``, computed here before gpg sees a byte (RFC 4880, section 12.2).

    Raises PacketError or UnsuitableKey if ``data`` is not one public key of at most 32 KiB, or not the expected one.
    """
    if len(data) > KEY_LIMIT_BYTES:
        raise UnsuitableKey(f"The key has {len(data)} bytes, and at most {KEY_LIMIT_BYTES} are taken; export it anew.")
    found = packets.split(data)
    tags = {packet.tag for packet in found}
    if tags & {_SECRET_KEY, _SECRET_SUBKEY}:
        raise UnsuitableKey("This is a secret key, which nobody else may have; send the public key (gpg --export).")
    if found[0].tag != _PUBLIC_KEY or sum(packet.tag == _PUBLIC_KEY for packet in found) != 1:
        raise UnsuitableKey("This is not exactly one public key; export one key by its fingerprint and send that.")
    if not tags <= {_PUBLIC_KEY, _SIGNATURE, _USER_ID, _PUBLIC_SUBKEY}:
        raise UnsuitableKey("The key has parts other than user IDs, subkeys and signatures; export it without them.")
    body = found[0].body
    if body[:1] != b"\x04":
        raise UnsuitableKey("The key is not an OpenPGP key of version 4; make one with GnuPG 2.2.")
    fingerprint = hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False).hexdigest().upper()
    if expected is not None and fingerprint != checked_fingerprint(expected):
        raise UnsuitableKey(f"The key has the fingerprint {fingerprint}, but {expected} was expected; ask its owner.")
    return fingerprint


def require_suitable(key: Key, *, several_user_ids: bool = False) -> None:
    """Raises UnsuitableKey or UserIdError unless the key is valid, RSA-3072 or longer, with one user ID of ours.

    With ``several_user_ids`` any printable ones will do: for a caller who reads the name in a certification only.
    """
    primary = key.primary
    if primary.validity in ("r", "e", "i", "d") or primary.disabled:
        raise UnsuitableKey(f"The key {key.fingerprint} is revoked, expired or broken; its owner must send another.")
    if primary.algorithm != RSA or primary.bits < SMALLEST_RSA_BITS:
        raise UnsuitableKey(
            f"The key {key.fingerprint} is {algorithm_name(primary)}; RSA with at least 3072 bits is needed."
        )
    if not key.user_ids or (len(key.user_ids) > 1 and not several_user_ids):
        raise UnsuitableKey(f"The key {key.fingerprint} has {len(key.user_ids)} user IDs; exactly one is needed.")
    for each in key.user_ids:
        if not several_user_ids:
            checked_user_id(each.text)
        elif not each.text.isprintable():
            raise UserIdError(
                f"The key {key.fingerprint} has a user ID that cannot be printed; its owner must remove it."
            )


def public_key(home: Home, fingerprint: str) -> Key:
    """The public key as gpg lists it now. Raises UnsuitableKey if it is not in the home."""
    return _only(_listed(home, "--list-keys", fingerprint), home, fingerprint)


def secret_key(home: Home, fingerprint: str) -> Key:
    """The key with a secret part in this home, as gpg lists it now. Raises UnsuitableKey if there is none."""
    return _only(_listed(home, "--list-secret-keys", fingerprint), home, fingerprint)


def secret_keys(home: Home) -> tuple[Key, ...]:
    """Every key with a secret part in this home."""
    return _listed(home, "--list-secret-keys")


def only_certifier(home: Home) -> str:
    """The fingerprint of the one secret key in a home that certifies. Raises EngineError if there is not just one."""
    found = [key.fingerprint for key in secret_keys(home) if "c" in key.primary.capabilities]
    if len(found) != 1:
        raise EngineError(f"There are {len(found)} certifying keys in {home.path}; name the authority's fingerprint.")
    return found[0]


def algorithm_name(part: KeyPart) -> str:
    """gpg's short name of an algorithm: "rsa3072", "ed25519", "cv25519"."""
    return part.curve or f"{_ALGORITHM_NAMES.get(part.algorithm, f'algorithm {part.algorithm}, ')}{part.bits}"


def checked_fingerprint(fingerprint: str) -> str:
    """``fingerprint`` itself, if it is 40 upper-case hexadecimal digits; gpg takes much else for a key."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise UnsuitableKey(f"{fingerprint!a} is not a fingerprint; give 40 hexadecimal digits in upper case.")
    return fingerprint


# DETAILS, "Unattended key generation". Without Key-Usage the primary key could also authenticate.
_PRIMARY: Final = ("Key-Type: RSA", "Key-Length: 3072", "Key-Usage: sign,cert")
_ENCRYPTION_SUBKEY: Final = ("Subkey-Type: ECDH", "Subkey-Curve: Curve25519", "Subkey-Usage: encrypt")


def _generate(home: Home, name: str, kind: Sequence[str], passphrase: Secret | None, *, ask: bool = False) -> Key:
    checked_user_id(name)
    if passphrase is not None:
        protection = [f"Passphrase: {_passphrase_text(passphrase)}"]
    else:
        protection = [] if ask else ["%no-protection"]
    before = {key.fingerprint for key in secret_keys(home)}
    # The parameters, passphrase included, go over a pipe; python-gnupg writes them to no file and to no log.
    real = without_address(name)
    named = [f"Name-Real: {real}", *([f"Name-Email: {name[len(real) + 2 : -1]}"] if real != name else [])]
    _gpg(home).gen_key("\n".join((*kind, *named, "Expire-Date: 0", *protection, "%commit", "")))
    made = [key for key in secret_keys(home) if key.fingerprint not in before]
    if len(made) != 1 or [each.text for each in made[0].user_ids] != [name]:
        if ask:
            raise PassphraseError(
                f"No key was made in {home.path}: the passphrase was not given twice alike; try again."
            )
        raise EngineError(
            f"GnuPG made no key in {home.path}; see that the disk has room and the folder is ours, try again."
        )
    return made[0]


def _passphrase_text(passphrase: Secret) -> str:
    try:
        text = passphrase.reveal().decode()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or text != text.strip() or not 0 < len(text.encode()) <= PASSPHRASE_LIMIT_BYTES:
        raise PassphraseError(
            f"A passphrase is 1 to {PASSPHRASE_LIMIT_BYTES} bytes of printable text that neither begins nor ends with "
            "a space; choose another."
        )
    return text


def _exported(home: Home, fingerprint: str, *, minimal: bool) -> bytes:
    data = _gpg(home).export_keys(checked_fingerprint(fingerprint), armor=False, minimal=minimal)
    if not data:
        raise UnsuitableKey(f"The key {fingerprint} is not in {home.path}; look with `keyring list`.")
    public_key_fingerprint(data, fingerprint)
    return bytes(data)


def _shown(data: bytes, fingerprint: str) -> Key:
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        home = Home.create(Path(folder) / "k", own_keys=False)
        outcome = process.run(
            home, "--with-colons", "--with-fingerprint", "--with-fingerprint", "--show-keys", stdin=data
        )
    found = colons.parse(outcome.output)
    if [key.fingerprint for key in found] != [fingerprint]:
        raise UnsuitableKey(
            "GnuPG does not read this as one public key with a valid user ID; export it anew and send it."
        )
    return found[0]


def _listed(home: Home, command: str, *fingerprints: str) -> tuple[Key, ...]:
    names = [checked_fingerprint(fingerprint) for fingerprint in fingerprints]
    options = ("--with-colons", "--with-fingerprint", "--with-fingerprint", "--with-keygrip")
    return colons.parse(process.run(home, *options, command, *names).output)


def _only(found: tuple[Key, ...], home: Home, fingerprint: str) -> Key:
    if [key.fingerprint for key in found] != [fingerprint]:
        raise UnsuitableKey(f"The key {fingerprint} is not in {home.path}; look with `keyring list`.")
    return found[0]


def _gpg(home: Home) -> "gnupg.GPG":
    # Imported here: it takes 25 ms, and most commands make no keys.
    import gnupg

    home.ensure_sockets()
    try:
        return gnupg.GPG(gnupghome=str(home.path), env=_environment(), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineError(f"GnuPG cannot be run in {home.path} ({error}); install GnuPG 2.2.40 or later.") from None


def _environment() -> dict[str, str]:
    """Ours, in UTF-8, and with the terminal at which a pinentry may ask."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    if sys.stdin is not None and sys.stdin.isatty():
        environment.setdefault("GPG_TTY", os.ttyname(sys.stdin.fileno()))
    return environment


def _allowed(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    category = unicodedata.category(character)
    return (category[0] == "L" or category in ("Mn", "Mc")) and not _INVISIBLE.match(character)
