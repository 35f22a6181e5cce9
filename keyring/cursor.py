"""Bytes of a stranger are read forward only, and never past their end."""

from keyring.errors import PacketError


class Cursor:
    """A place in some bytes. Every method raises PacketError when there are fewer bytes than it needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at(self) -> int:
        """How many bytes have been read."""
        return self._at

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise PacketError("packet-body", "The body of the packet ends too early.")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, length: int) -> int:
        """A big-endian number of so many bytes."""
        return int.from_bytes(self.take(length), "big")

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def mpi(self) -> int:
        """The bit length of a multiprecision integer, which is skipped (RFC 4880, section 3.2)."""
        bits = self.number(2)
        self.take((bits + 7) // 8)
        return bits
