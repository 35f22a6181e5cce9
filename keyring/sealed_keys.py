"""A private key leaves its home only sealed under a passphrase, by GnuPG's own export, and is on no disk in clear."""

import re
from typing import Final

from keyring import keys, process
from keyring.errors import EngineError, PassphraseError, UnsuitableKey
from keyring.home import Home
from protocol.secret import Secret

# A person chose this passphrase, so that each guess must cost; this is the largest count there is.
_STRETCHING: Final = (
    *("--s2k-mode", "3", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712"),
    *("--s2k-cipher-algo", "AES256", "--cipher-algo", "AES256"),
)
_NONE: Final = Secret(b"")


def export_sealed(home: Home, fingerprint: str, passphrase: Secret) -> bytes:
    """A secret key that is not protected in ``home``, with its subkeys, in a message under the passphrase.

    Raises UnsuitableKey if it is not there, EngineError if gpg does not give it out.
    """
    keys.secret_key(home, fingerprint)
    _require_passphrase(passphrase)
    exported = process.run(home, "--export-secret-keys", keys.checked_fingerprint(fingerprint), passphrase=_NONE)
    if exported.exit_code != 0 or not exported.output:
        raise EngineError(f"GnuPG did not give out the private key {fingerprint}: {_last_line(exported.log)}.")
    sealed = process.run(
        home, "-z", "0", "--no-armor", *_STRETCHING, "--symmetric", stdin=exported.output, passphrase=passphrase
    )
    if sealed.exit_code != 0 or not sealed.status.endswith(b"[GNUPG:] END_ENCRYPTION\n") or not sealed.output:
        raise EngineError(f"GnuPG could not seal the private key {fingerprint}: {_last_line(sealed.log)}.")
    return sealed.output


def import_sealed(home: Home, sealed: bytes, passphrase: Secret, *, expected_fingerprint: str) -> None:
    """Takes a key that :func:`export_sealed` has sealed. Raises PassphraseError, or UnsuitableKey if it is another."""
    opened = process.run(home, "--decrypt", stdin=sealed, passphrase=passphrase)
    said = set(re.findall(rb"^\[GNUPG:\] ([A-Z_]+)", opened.status, re.MULTILINE))
    if opened.exit_code != 0 or not {b"DECRYPTION_OKAY", b"GOODMDC"} <= said or b"ENC_TO" in said:
        raise PassphraseError("The passphrase does not open the sealed keys, or they were changed; give the right one.")
    process.run(home, "--import", stdin=opened.output, passphrase=_NONE)
    if [key.fingerprint for key in keys.secret_keys(home)] != [expected_fingerprint]:
        raise UnsuitableKey(f"The sealed keys are not those of {expected_fingerprint}; name the right backup.")


def _require_passphrase(passphrase: Secret) -> None:
    if not passphrase.reveal():
        raise PassphraseError("The passphrase is empty; private keys are sealed under one that is worth the name.")


def _last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("gpg: ").rstrip(".") if lines else "it said nothing"
