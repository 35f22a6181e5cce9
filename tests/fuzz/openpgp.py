"""OpenPGP bytes of strangers are taken apart without GnuPG, completely or not at all, and in bounded time."""

from collections.abc import Callable
from unittest import mock

from ca.documents import claimed_content
from ca.errors import NoticeError, RequestError
from ca.mail import question_about
from ca.messages import SubmitNotice, SubmitRequest
from ca.notices import claimed_notice
from ca.requests import claimed_request
from customer.cli import watching
from customer.wire import Event
from keyring import explain, keys, packets, subpackets
from keyring.console import json_text
from keyring.explain import MAX_INFLATED_BYTES, Explanation
from keyring.packets import Packet
from tests.fuzz.properties import attempt, text_of

SIGNED_HEAD = bytes.fromhex("c40d03000801aaaaaaaaaaaaaaaa01")
SIGNED_TAIL = bytes.fromhex("c21304000108000605020000000100000000000101")


def packet_framing(data: bytes) -> None:
    """The packets of a message cover it from its first byte to its last, and each kind has its rule."""
    found = attempt(packets.split, data)
    for require in (
        packets.require_signed_message,
        packets.require_sealed_message,
        packets.require_password_message,
    ):
        assert found or not attempt(_passes, require, data), "passed although its packets cannot be told apart"
    if found is not None:
        _require_cover(found, data)
    studied = attempt(packets.split_for_study, data)
    if found is not None:
        assert studied == found
    if studied is not None:
        _require_cover(studied, data)


def _passes(require: Callable[[bytes], None], data: bytes) -> bool:
    require(data)
    return True


def _require_cover(found: tuple[Packet, ...], data: bytes) -> None:
    ends = [packet.offset for packet in found[1:]] + [len(data)]
    for packet, end in zip(found, ends, strict=True):
        taken = packet.header_length + len(packet.body)
        assert packet.offset + taken <= end
        assert packet.partial or packet.offset + taken == end


def explanations(data: bytes) -> None:
    """What `keyring packets` shows of any file: finite in depth and size, and fit for JSON."""
    found = attempt(explain.explain, data)
    if found is not None:
        assert _depth(found) <= explain.MAX_DEPTH + 1
        assert sum(map(_inflated, found)) <= MAX_INFLATED_BYTES
        json_text([_fields(each) for each in found])


def _depth(found: tuple[Explanation, ...]) -> int:
    return 1 + max(_depth(each.inside) for each in found) if found else 0


def _inflated(each: Explanation) -> int:
    own = each.fields.get("inflated bytes", 0)
    assert isinstance(own, int)
    return own + sum(map(_inflated, each.inside))


def _fields(each: Explanation) -> object:
    assert each.sentence
    return {"fields": dict(each.fields), "inside": [_fields(inner) for inner in each.inside]}


def signature_details(data: bytes) -> None:
    """Subpackets of a signature, in any of the three forms of their length."""
    attempt(subpackets.read, data)


def public_keys(data: bytes) -> None:
    """The fingerprint of a key before gpg sees it; the explanation of the same key names the same one."""
    fingerprint = attempt(keys.public_key_fingerprint, data)
    if fingerprint is None:
        return
    assert keys.checked_fingerprint(fingerprint) == fingerprint
    assert attempt(keys.public_key_fingerprint, data, "0" * 40) is None
    explained = attempt(explain.explain, data)
    if explained is not None and "fingerprint" in explained[0].fields:
        body = packets.split(data)[0].body
        if len(body) == _public_length(explained[0]):
            assert explained[0].fields["fingerprint"] == fingerprint


def _public_length(explained: Explanation) -> int:
    # Bytes behind the numbers of a key are part of the packet that is hashed, and not of what is explained.
    return explained.body_length if "malformed" not in explained.sentence else -1


def claimed_documents(data: bytes) -> None:
    """What a request or a notice claims, from its message and from its content alone; nobody has verified it."""
    for message in (data, signed(data)):
        request = attempt(claimed_request, message)
        if request is not None:
            assert request.message == message
            assert request.identifier == request.digest[:16]
            attempt(request.signing_request)
        notice = attempt(claimed_notice, message)
        assert request is None or notice is None
        asked = attempt(question_about, message)
        assert isinstance(asked, SubmitRequest) == (request is not None)
        assert isinstance(asked, SubmitNotice) == (notice is not None)
    if len(data) < 60_000:
        assert attempt(claimed_content, signed(data), RequestError) == data
    attempt(claimed_content, data, NoticeError)


def signed(content: bytes) -> bytes:
    """A message with this content that is built as a signed one is; its signature is of nobody."""
    literal = b"b\0" + bytes(4) + content
    return SIGNED_HEAD + b"\xcb\xff" + len(literal).to_bytes(4) + literal + SIGNED_TAIL


def watched_events(data: bytes) -> None:
    """What `customer send --show-wire` prints of a foreign message or content has nothing that a terminal obeys."""
    with mock.patch("customer.cli.watching.click.echo", _require_printable):
        shown = watching.printer(to_stderr=True)
        shown(Event("watched", facts=(("name", text_of(data)),), message=data))
        shown(Event("watched", content=data))


def _require_printable(text: str, **_: object) -> None:
    assert all(line.isprintable() for line in text.split("\n"))
