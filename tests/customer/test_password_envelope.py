"""The envelope of an answer under the password is not sealed; what is altered in it is noticed all the same."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from customer.errors import NotProven
from customer.password import PasswordConversation
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.frames import Frame, FrameType
from protocol.messages import PasswordFrame

ENVELOPE = canonical.encode(PasswordFrame(customer="1001", sealed=b"four"))


class Reached(Exception):
    """The sealed part was looked at: the envelope was taken."""


def take(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> None:
        raise Reached

    monkeypatch.setattr("keyring.messages.open_with_password", opened)
    we = SimpleNamespace(customer="1001", bank="", keyless=None, password=None)
    line = SimpleNamespace(watch=lambda _event: None)
    talk = PasswordConversation(cast(Any, None), cast(Any, we), cast(Any, line), lambda: 0.0, bytes)
    talk._opened(Frame(FrameType.PASSWORD, body), b"")


def test_the_banks_own_envelope_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Reached):
        take(ENVELOPE, monkeypatch)


def test_no_altered_bit_of_an_envelope_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the number, nor in the bits of base64 that mean nothing."""
    for place in range(len(ENVELOPE)):
        for bit in range(8):
            altered = bytearray(ENVELOPE)
            altered[place] ^= 1 << bit
            try:
                take(bytes(altered), monkeypatch)
            except Reached:
                assert canonical.decode(PasswordFrame, bytes(altered)).sealed != b"four", (place, bit)
            except (NotProven, MalformedContent):
                continue
