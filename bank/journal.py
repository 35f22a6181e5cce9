"""The server's log is one JSON object a line: fixed events, never a secret, and so many lines of a kind a minute."""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final, Literal, TextIO

LOGGER = logging.getLogger("bank")
_KEYRING = logging.getLogger("keyring")

VALUE_CHARACTERS: Final = 200
"""Longest value written; foreign text may be longer."""

LINES_PER_MINUTE: Final = 600
"""Lines of one event, where nothing else is said."""

WINDOW_SECONDS: Final = 60.0

Style = Literal["json", "systemd"]
"""``systemd`` puts ``<4>`` and the like before each line, from which journald takes the line's priority."""

EVENTS: Final[Mapping[str, str]] = {
    "serving": "The server takes connections.",
    "stopped": "The server has ended; whether all that was taken was answered.",
    "batch": "Orders were decided together: how many, what became of them, and the seconds since the first came.",
    "batch-again": "The database broke a transaction off, or was lost amid it; its orders are tried again.",
    "batch-failed": "A transaction was rolled back; what was in it was not recorded, or its outcome is unknown.",
    "head-unsigned": "What was recorded could not be signed; it is tried again.",
    "head-unstored": "The newest signed head could not be stored; it is tried again.",
    "session-opened": "A customer has opened a session.",
    "session-ended": "A session is over.",
    "refused": "A connection was not let in, for this reason.",
    "request-refused": "Something asked inside a session was refused and not recorded, for this reason.",
    "malformed": "What a connection began with is not a message of ours.",
    "connection-ended": "A connection broke, or its other end did not keep to the protocol or to the time limits.",
    "opening-failed": "GnuPG did not work while somebody was let in.",
    "request-failed": "A request could not be answered, because of a fault on our side.",
    "posting-failed": "An order could not be recorded, or its outcome could not be said.",
    "outcome-unknown": "A connection was ended because the outcome of an order could not be said.",
    "failed": "A connection was ended because ledger or GnuPG did not work.",
    "fault": "A fault of the program, with its trace; it cost one connection or one look at the desk.",
    "key-registered": "A customer has registered a key.",
    "authority": "Certified keys are judged by this authority from now on.",
    "revocation-list": "A newer revocation list was taken.",
    "revocations-failed": "The authority's desk gave no list that can be taken; said once until it does again.",
    "revocations-reached": "The desk gives lists again.",
    "bank-certificate-revoked": "The authority has revoked the bank's own certificate.",
    "few-file-descriptors": "The system allows fewer open files than the limits ask for.",
    "clock-unsynchronised": "No program keeps the clock of this machine right, as far as its kernel knows.",
    "process-ended": "A process of the server has ended by itself; it is begun again.",
    "process-failed": "A process of the server could not be begun.",
    "process-killed": "A process of the server did not end in time and was killed.",
    "alone": "A process ends, because its parent was killed.",
    "suppressed": "So many lines of this event were left out in the last minute.",
}
"""Every event and what it says; docs/operations.md shows the same table."""


class JsonLines(logging.Formatter):
    """``{"time": …, "level": …, "event": …, …}``; JSON's escapes keep foreign text on its line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        for name, value in fields_of(record).items():
            line[name] = value if isinstance(value, int | float | dict | None) else str(value)[:VALUE_CHARACTERS]
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


class SystemdLines(JsonLines):
    """The same with the priority before it, by sd-daemon(3): journald takes it off again."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return f"<{priority}>{super().format(record)}"


_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6))
_STYLES: Final[Mapping[Style, type[logging.Formatter]]] = {"json": JsonLines, "systemd": SystemdLines}


class _LogFile(WatchedFileHandler):
    """The log holds no secret, but it tells who banks here and when: its owner alone may read it."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600))


class Limited(logging.Handler):
    """Hands lines on to another handler, so many of one event a minute; it counts what it leaves out, and says so.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, handler: logging.Handler, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._per_minute = per_minute
        self._clock = clock
        self._begun = clock()
        self._seen: Counter[object] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self._settle()
        self._seen[record.msg] += 1
        if self._seen[record.msg] <= self._per_minute:
            self._handler.handle(record)

    def settle(self) -> None:
        """Say what was left out, if the minute is over; for whoever looks every now and then."""
        self.acquire()
        try:
            self._settle()
        finally:
            self.release()

    def close(self) -> None:
        self._tell()
        self._handler.close()
        super().close()

    def _settle(self) -> None:
        if self._clock() >= self._begun + WINDOW_SECONDS:
            self._tell()

    def _tell(self) -> None:
        seen, self._seen, self._begun = self._seen, Counter(), self._clock()
        for kind, count in seen.items():
            if count > self._per_minute:
                fields = {"of": kind, "lines": count - self._per_minute}
                values = {"name": LOGGER.name, "levelno": logging.WARNING, "levelname": "WARNING"}
                self._handler.handle(logging.makeLogRecord({**values, "msg": "suppressed", "fields": fields}))


def configure(
    target: TextIO | Path, *, verbose: bool, style: Style = "json", lines_per_minute: int = LINES_PER_MINUTE
) -> None:
    """Send the journal to a stream or to the end of a file; ``verbose`` adds sessions, batches and refused requests.

    A file that was moved away is made anew by the next line, so that logs are rotated without a signal. OSError if it
    cannot be opened.
    """
    handler = _LogFile(target) if isinstance(target, Path) else logging.StreamHandler(target)
    handler.setFormatter(_STYLES[style]())
    limited = Limited(handler, lines_per_minute)
    limited.setLevel(logging.DEBUG if verbose else logging.INFO)
    close()
    LOGGER.addHandler(limited)
    LOGGER.propagate = False
    LOGGER.setLevel(limited.level)


def listen(handler: logging.Handler) -> None:
    """Hand every event to one further handler, also those that are too many or too small to be written, and keyring's.

    A handler that listened before, in the process that this one was forked from, does not any more.
    """
    for logger in (LOGGER, _KEYRING):
        logger.handlers[:] = [*(each for each in logger.handlers if isinstance(each, Limited)), handler]
        logger.setLevel(logging.DEBUG)


def settle() -> None:
    """Say what was left out in the last minute; call it every now and then."""
    for handler in LOGGER.handlers:
        if isinstance(handler, Limited):
            handler.settle()


def close() -> None:
    """End the journal, once what was left out is said."""
    for logger in (LOGGER, _KEYRING):
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def is_heard(level: int = logging.DEBUG) -> bool:
    """Whether anybody takes events of this level; what is costly to put together is put together only then."""
    return LOGGER.isEnabledFor(level)


def note(event: str, *, level: int = logging.INFO, trace: bool = False, **fields: object) -> None:
    """Write one of :data:`EVENTS`. Fields are numbers, identifiers, codes and addresses; never keys, passwords or
    content.
    """
    LOGGER.log(level, event, extra={"fields": fields}, exc_info=trace)


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """The fields that an event was noted with."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields
