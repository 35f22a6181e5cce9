"""Signed content has exactly one spelling: JSON by RFC 8785, decoded strictly and compared with its own re-encoding."""

import hashlib
import re
import unicodedata
from typing import TypeVar

import msgspec

from protocol.errors import MalformedContent

T = TypeVar("T", bound=msgspec.Struct)
U = TypeVar("U")

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"contains unknown field `(?P<name>[^`]{0,64})`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]{0,64})`")


def encode(value: msgspec.Struct) -> bytes:
    """The canonical UTF-8 bytes of a value: no white space, keys sorted (RFC 8785, section 3.2).

    Our structures hold strings, small integers, booleans, null, lists and objects with ASCII keys, for which
    the encoder's sorted form and RFC 8785 agree.
    """
    return msgspec.json.encode(value, order="sorted")


def decode(kind: type[T], data: bytes) -> T:
    """Decode strictly; an unknown or missing field or a wrong type raises MalformedContent naming the field."""
    return decode_union(msgspec.json.Decoder(kind), data)


def decode_union(decoder: "msgspec.json.Decoder[U]", data: bytes) -> U:
    """Decode one of several types by the decoder made for them, with the same errors as :func:`decode`."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def decode_signed(kind: type[T], data: bytes) -> T:
    """Decode content that somebody signed: besides :func:`decode`, it must be canonical byte for byte.

    So a doubled field, which one reader takes first and another last, has no second reading.
    """
    return decode_signed_union(msgspec.json.Decoder(kind), data)


def decode_signed_union(decoder: "msgspec.json.Decoder[U]", data: bytes) -> U:
    """Decode signed content of one of several types by the decoder made for them; else as :func:`decode_signed`."""
    value = decode_union(decoder, data)
    if msgspec.json.encode(value, order="sorted") != data:
        raise MalformedContent("The content is not in canonical form (RFC 8785); encode it again.")
    return value


def digest(content: bytes) -> str:
    """SHA-256 of content, as 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def require_printable(text: str, field: str) -> None:
    """Refuse characters that a screen or a statement would not show as what they are."""
    if text.isprintable():  # a quick yes: it refuses wide spaces (Zs) besides, which are looked at below
        return
    for position, character in enumerate(text):
        # Cc control, Cf format (bidirectional overrides, zero width), Cs surrogate, Co private, Cn unassigned, Zl/Zp.
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            raise MalformedContent(
                f"The field {field} has an unprintable character (U+{ord(character):04X}) at place {position + 1}; "
                "remove it.",
                field,
            )


def _malformed(error: Exception) -> MalformedContent:
    text = str(error)
    path = match["path"] if (match := _PATH.search(text)) else ""
    named = _UNKNOWN.search(text) or _MISSING.search(text)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
    path = _shown(path)
    # The decoder's own sentence may quote foreign field names: only its printable part is passed on.
    plain = _shown(_PATH.sub("", text))
    return MalformedContent(f"The content is malformed: {plain}" + (f" (field {path})." if path else "."), path)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
