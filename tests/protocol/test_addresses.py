"""Addresses are written in one way each: host:port, with brackets around IPv6."""

import pytest

from protocol.errors import LocalProtocolError
from protocol.transport import Address


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1:7401", "127.0.0.1", 7401, "127.0.0.1:7401"),
        (" bank.example:1 ", "bank.example", 1, "bank.example:1"),
        ("[::1]:7401", "::1", 7401, "[::1]:7401"),
        ("[fe80::1%eth0]:7401", "fe80::1%eth0", 7401, "[fe80::1%eth0]:7401"),
        ("[::ffff:192.0.2.1]:65535", "::ffff:192.0.2.1", 65535, "[::ffff:192.0.2.1]:65535"),
        ("localhost:0", "localhost", 0, "localhost:0"),
    ],
)
def test_addresses(text: str, host: str, port: int, shown: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, shown)
    assert Address.parse(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", ":7401", "host:port", "host:65536", "host:-1", "host:1_0", "host:\u0667", "a b:1"),
        *(
            "[::1]",
            "[]:7401",
            "[::1:7401",
            "::1]:7401",
            "::1",
            "::1:7401",
            "[host]:1",
            "[::1]7401",
            "a:1:2",
            "host:123456",
        ),
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"127\.0\.0\.1:7401"):
        Address.parse(text)
