"""Sequoia, an OpenPGP implementation that shares no code with GnuPG, is asked about what GnuPG was asked about."""

import os
from collections.abc import Iterable

# Sequoia's errors carry a stack trace if RUST_BACKTRACE asks for one, which takes a hundred times as long as to verify.
os.environ.setdefault("RUST_LIB_BACKTRACE", "0")

import pysequoia

Signers = frozenset[tuple[str, str]]
"""Primary and signing key (40 upper-case hex each) of every good signature."""


def verified(message: bytes, certificates: Iterable[bytes]) -> tuple[bytes, Signers] | None:
    """The content and its signers; None if no signature is good.

    Sequoia is given these public keys, and judges by its standard policy as of now.
    """
    known = [pysequoia.Cert.from_bytes(each) for each in certificates]
    try:
        found = pysequoia.verify(message, store=lambda _: known)
    except (RuntimeError, ValueError):
        return None
    signers = frozenset((each.certificate.upper(), each.signing_key.upper()) for each in found.valid_sigs)
    return (found.bytes or b"", signers) if signers else None


def decrypted(message: bytes, secret: bytes | None, password: str | None) -> bytes | None:
    """The content of an encrypted message; None if Sequoia does not open it with this key or password."""
    decryptor = pysequoia.Tsk.from_bytes(secret).decryptor() if secret else None
    try:
        found = pysequoia.decrypt(message, decryptor=decryptor, passwords=[password] if password else [])
    except (RuntimeError, ValueError):
        return None
    return found.bytes
