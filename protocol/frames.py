"""A frame is a length, a protocol version, a type and a body; whatever is not one ends the connection."""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

from protocol.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL_VERSION = 1

_HEADER = struct.Struct(">IBB")
HEADER_BYTES = _HEADER.size
"""4 bytes length of the body (big-endian), 1 byte protocol version, 1 byte type."""


class FrameType(IntEnum):
    """What the body of a frame is."""

    OPEN = 1
    OPENED = 2
    RECORD = 3
    PASSWORD = 4
    REFUSED = 5
    DESK_REQUEST = 16
    DESK_ANSWER = 17


@dataclass(frozen=True)
class Frame:
    """A frame as received; ``header`` is what records authenticate."""

    type: FrameType
    body: bytes

    @property
    def header(self) -> bytes:
        """The six bytes before the body."""
        return _HEADER.pack(len(self.body), PROTOCOL_VERSION, self.type)

    def encode(self) -> bytes:
        """The bytes on the wire."""
        if len(self.body) >= 2**32:
            raise LocalProtocolError("The message is too long for a frame.")
        return self.header + self.body


@dataclass
class FrameReader:
    """Bytes in, frames out, without a socket: feed it with receive_data, ask next_frame.

    ``limit`` is the largest body accepted, in bytes; it may be raised while reading goes on, once a session is open.
    """

    limit: int
    _buffer: bytearray = field(default_factory=bytearray)

    def receive_data(self, data: bytes) -> None:
        """Add received bytes; the caller reads no more than one frame ahead of what it handles."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, None while it is incomplete; RemoteProtocolError names what is wrong with it."""
        if len(self._buffer) < HEADER_BYTES:
            return None
        length, version, number = _HEADER.unpack_from(self._buffer)
        # The version is judged before anything else is read into the frame.
        if version != PROTOCOL_VERSION:
            raise RemoteProtocolError(f"The other party speaks protocol version {version}, not {PROTOCOL_VERSION}.")
        try:
            kind = FrameType(number)
        except ValueError:
            raise RemoteProtocolError(f"The frame has the unknown type {number}.") from None
        if length > self.limit:
            raise RemoteProtocolError(f"The frame has {length} bytes; the limit is {self.limit} here.")
        if len(self._buffer) < HEADER_BYTES + length:
            return None
        body = bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + length])
        del self._buffer[: HEADER_BYTES + length]
        return Frame(kind, body)

    @property
    def pending_bytes(self) -> int:
        """Bytes received of a frame that is not yet whole, or not yet asked for."""
        return len(self._buffer)
