"""What a test changes differs in every run: a byte is flipped, never set to a value that it may have already."""


def with_last_byte_changed(data: bytes) -> bytes:
    """`data` with the lowest bit of its last byte flipped."""
    return data[:-1] + bytes([data[-1] ^ 1])
