"""What happens on the wire can be watched for study; a watcher is told every step and never a secret."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

SECRET_FIELDS: Final = frozenset({"session_key"})
MASK: Final = "(secret, not shown)"


@dataclass(frozen=True)
class Event:
    """One step: a title, what is worth knowing by name, an OpenPGP message to take apart, JSON content to show."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    message: bytes = b""
    content: bytes = b""


Watch = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Nobody looks."""


def masked(value: msgspec.Struct) -> bytes:
    """A message as JSON with the values of secret fields replaced, for the eyes of a watcher."""
    fields = msgspec.to_builtins(value)
    shown = {name: MASK if name in SECRET_FIELDS else content for name, content in fields.items()}
    return msgspec.json.encode(shown, order="sorted")
