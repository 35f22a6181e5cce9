"""The server's log is one JSON object a line, with fields from a fixed list and never a secret."""

import json
import logging
import time
from typing import TextIO

LOGGER = logging.getLogger("bank")

VALUE_CHARACTERS = 200
"""Longest value written; foreign text may be longer."""


class JsonLines(logging.Formatter):
    """``{"time": …, "level": …, "event": …, …}``; JSON's escapes keep foreign text on its line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        fields: dict[str, object] = getattr(record, "fields", {})
        for name, value in fields.items():
            line[name] = value if isinstance(value, int | float | None) else str(value)[:VALUE_CHARACTERS]
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def configure(stream: TextIO, *, verbose: bool) -> None:
    """Send the journal to a stream; ``verbose`` adds an event for every opening and every request."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO)


def note(event: str, *, level: int = logging.INFO, trace: bool = False, **fields: object) -> None:
    """Write one event. Fields are numbers, identifiers, codes and addresses; never keys, passwords or content."""
    LOGGER.log(level, event, extra={"fields": fields}, exc_info=trace)
