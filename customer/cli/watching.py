"""The wire is shown step by step to people who study it: frames, packets, what was signed, and never a secret."""

import json
from itertools import count

import click

from customer.wire import Event, Watch
from keyring.errors import KeyringError
from keyring.explain import Explanation, explain
from keyring.printable import printable

LONG_CHARACTERS = 100


def printer(*, to_stderr: bool) -> Watch:
    """A watcher that prints each event with its number."""
    numbers = count(1)

    def show(event: Event) -> None:
        click.echo("\n".join(_lines(next(numbers), event)), err=to_stderr)

    return show


def _lines(number: int, event: Event) -> list[str]:
    lines = [f"{number:>3}. {event.title}"]
    lines += [f"     {name}: {printable(value)}" for name, value in event.facts]
    if event.message:
        lines += [f"     OpenPGP message of {len(event.message)} bytes:", *_packets(event.message)]
    if event.content:
        lines += ["     content:", *(f"       {line}" for line in _content(event.content))]
    return lines


def _packets(message: bytes) -> list[str]:
    try:
        return [line for part in explain(message) for line in _packet(part)]
    except KeyringError as error:
        return [f"       (cannot be taken apart: {printable(str(error))})"]


def _packet(part: Explanation) -> list[str]:
    size = f"{part.header_length} + {part.body_length} bytes"
    lines = [f"       packet {part.tag} at {part.offset}, {size}: {part.name}", f"         {printable(part.sentence)}"]
    lines += [f"         {name}: {_value(value)}" for name, value in part.fields.items()]
    return lines


def _value(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return printable(_short(text))


def _content(content: bytes) -> list[str]:
    """JSON in lines; long values (keys, messages) are cut, since they are shown by their packets."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return [printable(_short(content.decode("utf-8", "replace")))]
    return [
        f"{printable(name)}: {printable(_short(json.dumps(value, ensure_ascii=False)))}"
        for name, value in fields.items()
    ]


def _short(text: str) -> str:
    return text if len(text) <= LONG_CHARACTERS else f"{text[:LONG_CHARACTERS]}… ({len(text)} characters)"
