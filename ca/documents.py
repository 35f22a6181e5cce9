"""A document counts as its signer's only after gpg has said so; before that it merely claims things."""

from typing import TypeVar

from msgspec import Struct

from ca.errors import CaError
from keyring import packets
from keyring.errors import KeyringError
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import SignedByCustomer
from keyring.worker import open_once
from protocol import canonical
from protocol.errors import MalformedContent

DOCUMENT_LIMIT_BYTES = 64 * 1024
"""Largest request or notice, in bytes of the OpenPGP message; real ones have about 6 KiB."""

CUSTOMER, BANK = "customer", "bank"
BANK_NUMBER = "0000"
"""The number that stands in a bank's certification; no customer has it."""

T = TypeVar("T", bound=Struct)


def claimed_content(message: bytes, error: type[CaError]) -> bytes:
    """The literal data of an inline-signed message, whose signature nobody has looked at yet."""
    if len(message) > DOCUMENT_LIMIT_BYTES:
        raise error(f"The document has {len(message)} bytes; at most {DOCUMENT_LIMIT_BYTES} are taken.")
    try:
        packets.require_signed_message(message)
        body = packets.split(message)[1].body
    except KeyringError as wrong:
        raise error(f"The document is not a signed message: {wrong}") from None
    return body[6 + body[1] :]  # RFC 4880, section 5.9: format, length of the name, the name, 4 bytes of date


def verified_content(home: Home, message: bytes, fingerprint: str, *, certified: bool, error: type[CaError]) -> bytes:
    """The content as gpg gives it out, signed by the primary key ``fingerprint`` itself."""
    opened = open_once(home, message, SignedByCustomer(fingerprint, certified=certified))
    if not isinstance(opened, Opened):
        raise error(f"The document's signature does not count ({opened.rule}): {opened.sentence}")
    return opened.content


def decoded(kind: type[T], content: bytes, error: type[CaError]) -> T:
    """The value of canonical content."""
    try:
        return canonical.decode_signed(kind, content)
    except MalformedContent as wrong:
        raise error(str(wrong)) from None
