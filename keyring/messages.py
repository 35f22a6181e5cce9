"""The messages that we make are binary, uncompressed and SHA-256, and gpg must say that it made what was asked."""

import re
import sys
from typing import Final

from keyring import process
from keyring.errors import EngineError, HomeError, KeyringError, PassphraseError, UnsuitableKey
from keyring.home import Home
from keyring.opened import Opened
from keyring.process import INTERACTIVE_TIMEOUT_SECONDS, Outcome
from keyring.verdict import Rejected, UnderPassword
from keyring.worker import open_once
from protocol.secret import Secret

_FINGERPRINT: Final = re.compile(r"[0-9A-F]{40}")
_PLAIN: Final = ("-z", "0", "--no-armor", "--digest-algo", "SHA256")
# The password has 128 random bits, so stretching adds nothing to it; the count is the receiver's cost of each try.
_STRETCHING: Final = (
    *("--s2k-mode", "3", "--s2k-digest-algo", "SHA256", "--s2k-count", "65536", "--s2k-cipher-algo", "AES256"),
    *("--cipher-algo", "AES256"),
)

# libgpg-error codes: the low 16 bits of the number that ends "FAILURE sign NUMBER".
_BAD_PASSPHRASE: Final = 11
_NO_SECRET_KEY: Final = 17
_UNUSABLE_KEY: Final = 54
_NO_AGENT: Final = 77
_OUT_OF_MEMORY: Final = 32768 + 86
# Nobody was asked, nobody could be asked, or whoever was asked gave none.
_NO_PASSPHRASE: Final = frozenset({85, 86, 99, 177, 32768 + 102})
# An agent short of secure memory says either of these; both are worth one more try.
_PERHAPS_PASSING: Final = frozenset({_NO_SECRET_KEY, _OUT_OF_MEMORY})


def sign(home: Home, fingerprint: str, content: bytes, passphrase: Secret | None = None) -> bytes:
    """An inline-signed message (one-pass signature, literal, signature) by the primary key itself.

    Without ``passphrase`` the agent uses what it remembers; if that is nothing, pinentry asks, given a terminal.
    Raises PassphraseError, UnsuitableKey (no secret key of this fingerprint) or EngineError.
    """
    arguments = (*_PLAIN, "--local-user", f"{_checked(fingerprint)}!", "--sign")
    outcome = process.run(home, *arguments, stdin=content, passphrase=passphrase)
    if _failure(outcome) in _PERHAPS_PASSING:
        outcome = process.run(home, *arguments, stdin=content, passphrase=passphrase)
    if passphrase is None and _failure(outcome) in _NO_PASSPHRASE and _terminal():
        outcome = process.run(
            home, *arguments, stdin=content, interactive=True, timeout_seconds=INTERACTIVE_TIMEOUT_SECONDS
        )
    created = re.findall(rb"^\[GNUPG:\] SIG_CREATED (.*)$", outcome.status, re.MULTILINE)
    fits = len(created) == 1 and re.fullmatch(rb"S \d+ 8 00 \d+ " + fingerprint.encode(), created[0])
    if outcome.exit_code != 0 or not fits:
        raise _sign_error(home, fingerprint, outcome, passphrase)
    return outcome.output


def seal(home: Home, recipient_fingerprint: str, content: bytes) -> bytes:
    """A message encrypted to the encryption subkey of this one key, unsigned. Raises UnsuitableKey or EngineError.

    gpg is told to encrypt whatever it thinks of the key's certification: the caller has pinned or judged this very
    fingerprint, and in the stages before ``certified`` there is no certification to be had. gpg still refuses an
    expired or revoked key.
    """
    recipient = _checked(recipient_fingerprint)
    outcome = process.run(
        home, *_PLAIN, "--no-autostart", "--trust-model", "always", "--recipient", recipient, "--encrypt", stdin=content
    )
    if re.search(rb"^\[GNUPG:\] INV_RECP ", outcome.status, re.MULTILINE):
        raise UnsuitableKey(
            f"Nothing can be encrypted to the key {recipient}: it is not in {home.path}, has no encryption subkey,"
            " has expired or is revoked; fetch the current key of its owner."
        )
    return _made(outcome, "encrypt")


def seal_with_password(home: Home, password: Secret, content: bytes) -> bytes:
    """A message encrypted under an agreed password of 128 random bits, and to nobody's key. Raises EngineError."""
    outcome = process.run(
        home, *_PLAIN, *_STRETCHING, "--no-autostart", "--symmetric", stdin=content, passphrase=password
    )
    return _made(outcome, "encrypt")


def open_with_password(home: Home, password: Secret, message: bytes) -> Opened | Rejected:
    """Open a message that only somebody who knows the password can have made; Rejected if it is anything else.

    Raises HomeError if the home has secret keys: with them, a message encrypted to the public key could open, too.
    """
    if any((home.path / "private-keys-v1.d").glob("*")) or (home.path / "secring.gpg").exists():
        raise HomeError(
            f"The folder {home.path} holds secret keys; messages under a password are opened in a home without any."
        )
    return open_once(home, message, UnderPassword(), passphrase=password)


def _made(outcome: Outcome, task: str) -> bytes:
    if outcome.exit_code != 0 or not outcome.status.endswith(b"[GNUPG:] END_ENCRYPTION\n") or not outcome.output:
        raise EngineError(f"GnuPG could not {task} the message: {_last_words(outcome)}.")
    return outcome.output


def _sign_error(home: Home, fingerprint: str, outcome: Outcome, passphrase: Secret | None) -> KeyringError:
    code = _failure(outcome)
    if code == _BAD_PASSPHRASE:
        return PassphraseError(
            f"The passphrase does not open the private key {fingerprint} in {home.path}; give the right one."
        )
    if code in _NO_PASSPHRASE and passphrase is None:
        return PassphraseError(
            f"The private key {fingerprint} in {home.path} is protected and there is no terminal to ask on, or nothing"
            " was typed; name a file that holds the passphrase with --passphrase-file."
        )
    if code == _NO_AGENT:
        return EngineError(
            f"No gpg-agent could be started for {home.path}: {_last_words(outcome)}. If this home is meant to hold"
            " secret keys, see whether gpg-agent is installed and the folder can be written to."
        )
    if code in (_NO_SECRET_KEY, _UNUSABLE_KEY):
        return UnsuitableKey(
            f"There is no usable private key {fingerprint} in {home.path} to sign with; see the keys there with"
            " `keyring list`, or name another home with --home."
        )
    return EngineError(f"GnuPG could not sign with {fingerprint} in {home.path}: {_last_words(outcome)}.")


def _failure(outcome: Outcome) -> int | None:
    """The libgpg-error code with which gpg gave up signing; None if it did not."""
    found = re.search(rb"^\[GNUPG:\] FAILURE sign (\d{1,10})$", outcome.status, re.MULTILINE)
    return int(found[1]) & 0xFFFF if found else None


def _last_words(outcome: Outcome) -> str:
    """The last line of gpg's log, printable and short: it may hold a stranger's user ID."""
    lines = outcome.log.strip().splitlines() or ["it gave no reason"]
    return "".join(character if character.isprintable() else "?" for character in lines[-1])[:200].rstrip(".")


def _checked(fingerprint: str) -> str:
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise UnsuitableKey(
            "A key is named by its fingerprint of 40 hexadecimal digits, in capitals and without spaces."
        )
    return fingerprint


def _terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
