"""Whatever bytes come, the reader gives whole frames, waits, or names what is wrong, and never hangs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import HEADER_BYTES, PROTOCOL_VERSION, Frame, FrameReader, FrameType

LIMIT = 64

frames = st.lists(st.builds(Frame, st.sampled_from(FrameType), st.binary(max_size=LIMIT)), max_size=5)
# Headers that are nearly right, so that each of their parts is judged.
headers = st.builds(
    lambda length, version, kind: length.to_bytes(4, "big") + bytes((version, kind)),
    st.sampled_from((0, 1, 5, LIMIT, LIMIT + 1)),
    st.sampled_from((PROTOCOL_VERSION,) * 4 + (0, 2)),
    st.integers(min_value=0, max_value=20),
)
streams = st.lists(st.one_of(headers, st.binary(max_size=LIMIT)), max_size=5).map(b"".join)
cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=8)


def fed(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[Frame], FrameReader]:
    """The frames that come out when each piece is followed by asking, and the reader afterwards."""
    reader, found = FrameReader(limit), []
    for piece in pieces:
        reader.receive_data(piece)
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found, reader


def pieces_of(stream: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(marks)]


def test_a_header_is_six_bytes() -> None:
    frame = Frame(FrameType.RECORD, b"abc")
    assert frame.header == b"\x00\x00\x00\x03\x01\x03"
    assert len(frame.header) == HEADER_BYTES
    assert frame.encode() == frame.header + b"abc"


@given(frames, cuts)
def test_what_was_sent_comes_out_however_it_is_cut(sent: list[Frame], places: list[int]) -> None:
    found, reader = fed(pieces_of(b"".join(frame.encode() for frame in sent), places))
    assert found == sent
    assert reader.pending_bytes == 0


@given(st.builds(Frame, st.sampled_from(FrameType), st.binary(max_size=LIMIT)))
def test_every_truncation_waits(frame: Frame) -> None:
    stream = frame.encode()
    for length in range(len(stream)):
        found, reader = fed([stream[:length]])
        assert found == []
        assert reader.pending_bytes == length
        reader.receive_data(stream[length:])
        assert reader.next_frame() == frame


@given(st.integers(min_value=0, max_value=2**32 - 1), st.binary(max_size=2 * LIMIT))
def test_every_length_is_kept_or_refused(length: int, body: bytes) -> None:
    stream = length.to_bytes(4, "big") + bytes((PROTOCOL_VERSION, FrameType.RECORD)) + body
    reader = FrameReader(LIMIT)
    reader.receive_data(stream)
    if length > LIMIT:
        with pytest.raises(RemoteProtocolError, match="the limit is 64"):
            reader.next_frame()
    elif length <= len(body):
        assert reader.next_frame() == Frame(FrameType.RECORD, body[:length])
        assert reader.pending_bytes == len(body) - length
    else:
        assert reader.next_frame() is None


@given(streams, cuts)
def test_any_bytes_give_frames_or_one_typed_error(stream: bytes, places: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[Frame], str]:
        reader, found = FrameReader(LIMIT), []
        for piece in pieces:
            reader.receive_data(piece)
            try:
                while (frame := reader.next_frame()) is not None:
                    found.append(frame)
            except RemoteProtocolError as error:
                return found, str(error)
        return found, ""

    whole = outcome([stream])
    assert whole == outcome(pieces_of(stream, places)) == outcome([bytes((byte,)) for byte in stream])
    assert whole[1] == "" or whole[1].endswith(".")


def test_a_broken_stream_stays_broken() -> None:
    reader = FrameReader(LIMIT)
    reader.receive_data(b"\x00\x00\x00\x00\x02\x03")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="protocol version 2, not 1"):
            reader.next_frame()
        reader.receive_data(Frame(FrameType.RECORD, b"honest").encode())


def test_the_version_is_judged_before_type_and_length() -> None:
    reader = FrameReader(LIMIT)
    reader.receive_data(b"\xff\xff\xff\xff\x09\xff")
    with pytest.raises(RemoteProtocolError, match="version 9"):
        reader.next_frame()


def test_a_length_above_the_limit_is_refused_before_its_body_comes() -> None:
    reader = FrameReader(LIMIT)
    reader.receive_data((LIMIT + 1).to_bytes(4, "big") + b"\x01\x03")
    with pytest.raises(RemoteProtocolError):
        reader.next_frame()


def test_the_limit_may_be_raised_between_frames() -> None:
    large = Frame(FrameType.RECORD, bytes(LIMIT + 1))
    reader = FrameReader(LIMIT)
    reader.receive_data(Frame(FrameType.OPENED, b"{}").encode() + large.encode())
    assert reader.next_frame() == Frame(FrameType.OPENED, b"{}")
    reader.limit = LIMIT + 1
    assert reader.next_frame() == large


def test_a_body_that_no_header_can_tell_is_not_sent() -> None:
    class Endless(bytes):
        def __len__(self) -> int:
            return 2**32

    with pytest.raises(LocalProtocolError):
        Frame(FrameType.RECORD, Endless()).encode()
