"""A record opens only in its session, direction and place; anything else ends the session (trial 16)."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import records
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.records import Channel, Share, derive, transcript
from protocol.secret import Secret

OPEN, OPENED = Frame(FrameType.OPEN, b'{"type":"open"}'), Frame(FrameType.OPENED, b'{"type":"opened"}')
# Points whose order divides the cofactor, as u coordinates (RFC 7748, section 6.1, and section 7).
SMALL_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


def ends(session: str = "s", digest: bytes | None = None) -> tuple[Channel, Channel]:
    """Customer's and bank's end of a session; another name gives other keys."""
    key, shared = Secret(session.encode().ljust(32, b"k")), Secret(b"x" * 32)
    said = transcript(OPEN, OPENED) if digest is None else digest
    return Channel.of_customer(key, shared, said), Channel.of_bank(key, shared, said)


def refuses(channel: Channel, frame: Frame) -> None:
    with pytest.raises(RemoteProtocolError):
        channel.open(frame)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=12))
def test_records_open_in_their_order(spoken: list[tuple[bool, bytes]]) -> None:
    customer, bank = ends()
    for by_customer, content in spoken:
        sender, receiver = (customer, bank) if by_customer else (bank, customer)
        frame = sender.seal(content)
        assert frame.type is FrameType.RECORD
        assert len(frame.body) == len(content) + records.TAG_BYTES
        assert receiver.open(frame) == content


def test_a_record_is_not_taken_twice() -> None:
    customer, bank = ends()
    frame = customer.seal(b"order")
    assert bank.open(frame) == b"order"
    refuses(bank, frame)


def test_records_are_not_taken_in_another_order() -> None:
    customer, bank = ends()
    first, second = customer.seal(b"first"), customer.seal(b"second")
    refuses(bank, second)
    # And nothing after that: the session is over, even for what would have been right.
    refuses(bank, first)


def test_a_record_left_out_is_noticed_at_the_next() -> None:
    customer, bank = ends()
    customer.seal(b"lost")
    refuses(bank, customer.seal(b"next"))


def test_a_record_is_not_reflected() -> None:
    customer, bank = ends()
    refuses(customer, customer.seal(b"order"))
    refuses(bank, bank.seal(b"receipt"))


def test_a_record_is_not_moved_to_another_session() -> None:
    customer, _ = ends("one")
    _, other_bank = ends("two")
    refuses(other_bank, customer.seal(b"order"))


@pytest.mark.parametrize("changed", ["open", "opened"])
def test_other_opening_frames_give_other_keys(changed: str) -> None:
    """Stage or version changed on the way: the two ends do not understand each other (trial 36)."""
    opening = Frame(FrameType.OPEN, OPEN.body + b" ") if changed == "open" else OPEN
    opened = Frame(FrameType.OPENED, OPENED.body + b" ") if changed == "opened" else OPENED
    customer, _ = ends(digest=transcript(OPEN, OPENED))
    _, bank = ends(digest=transcript(opening, opened))
    refuses(bank, customer.seal(b"order"))


def test_the_transcript_covers_the_headers() -> None:
    assert transcript(OPEN, OPENED) != transcript(dataclasses.replace(OPEN, type=FrameType.PASSWORD), OPENED)
    # Nor can bytes wander from one frame to the other.
    assert transcript(Frame(FrameType.OPEN, b"ab"), Frame(FrameType.OPENED, b"c")) != transcript(
        Frame(FrameType.OPEN, b"a"), Frame(FrameType.OPENED, b"bc")
    )


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_bit_is_noticed(content: bytes, data: st.DataObject) -> None:
    customer, bank = ends()
    body = bytearray(customer.seal(content).body)
    bit = data.draw(st.integers(min_value=0, max_value=8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    refuses(bank, Frame(FrameType.RECORD, bytes(body)))


@given(st.binary(max_size=40), st.data())
def test_every_truncation_is_noticed(content: bytes, data: st.DataObject) -> None:
    customer, bank = ends()
    body = customer.seal(content).body
    refuses(bank, Frame(FrameType.RECORD, body[: data.draw(st.integers(min_value=0, max_value=len(body) - 1))]))


def test_something_appended_is_noticed() -> None:
    customer, bank = ends()
    refuses(bank, Frame(FrameType.RECORD, customer.seal(b"order").body + b"\x00"))


@pytest.mark.parametrize("kind", [kind for kind in FrameType if kind is not FrameType.RECORD])
def test_no_other_frame_belongs_into_a_session(kind: FrameType) -> None:
    customer, bank = ends()
    with pytest.raises(RemoteProtocolError, match=f"A {kind.name.lower()} frame does not belong"):
        bank.open(dataclasses.replace(customer.seal(b"order"), type=kind))


def test_the_header_is_authenticated(monkeypatch: pytest.MonkeyPatch) -> None:
    customer, bank = ends()
    frame = customer.seal(b"order")
    monkeypatch.setattr(Frame, "header", property(lambda _: b"\x00\x00\x00\x15\x02\x03"))
    refuses(bank, frame)


def test_a_direction_ends_before_its_nonces_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORDS_PER_SESSION", 2)
    customer, bank = ends()
    for _ in range(2):
        bank.open(customer.seal(b""))
    with pytest.raises(LocalProtocolError, match="open a new one"):
        customer.seal(b"")


def test_each_input_of_the_keys_counts() -> None:
    session_key, shared, digest = b"k" * 32, b"x" * 32, b"t" * 32
    inputs = itertools.product(
        (session_key, b"K" + session_key[1:]),
        (shared, b"X" + shared[1:]),
        (digest, b"T" + digest[1:]),
        (records.CUSTOMER_TO_BANK, records.BANK_TO_CUSTOMER),
    )
    keys = {derive(Secret(one), Secret(two), three, four).reveal() for one, two, three, four in inputs}
    assert len(keys) == 16
    assert all(len(key) == 32 for key in keys)


def test_two_shares_agree() -> None:
    ours, theirs = Share(), Share()
    assert ours.agree(theirs.public) == theirs.agree(ours.public)
    assert ours.agree(theirs.public) != ours.agree(Share().public)


@pytest.mark.parametrize("public", SMALL_ORDER, ids=lambda public: public.hex()[:8])
def test_a_share_of_small_order_is_refused(public: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="usable"):
        Share().agree(public)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_share_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match="usable"):
        Share().agree(b"\x09" * length)
