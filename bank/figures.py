"""What a server counts lies in memory that its processes share: each writes a place of its own, who reads adds them up.

There is no amount and no customer number among the figures, nor a label that strangers can add values to.
"""

import logging
import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from bank.journal import fields_of
from protocol.codes import Reason
from protocol.stages import Stage

CELL_BYTES: Final = 8
_REASONS: Final = tuple(reason.value for reason in Reason)
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Figure:
    """A name that is counted under, without its prefix and ending; ``bounds`` are a histogram's, in its unit."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    label: str = ""
    values: tuple[str, ...] = ("",)
    bounds: tuple[float, ...] = ()

    @property
    def cells(self) -> int:
        """How many numbers: one for each value of the label; of a histogram its classes, one above, and the sum."""
        return len(self.bounds) + 2 if self.bounds else len(self.values)


POSTED: Final = Figure("transfers_posted", "Orders that were booked, bulk orders in part or whole.", "counter")
PAYMENTS: Final = Figure(
    "payments_posted", "Payments that were booked: one for an order, several for a bulk.", "counter"
)
REFUSED: Final = Figure(
    "transfers_refused", "Orders whose refusal is recorded in the log, by reason code.", "counter", "reason", _REASONS
)
REPEATED: Final = Figure("transfers_repeated", "Orders that had been decided before.", "counter")
REQUESTS_REFUSED: Final = Figure(
    "requests_refused",
    "Requests inside sessions that were refused and not recorded, by reason code.",
    "counter",
    "reason",
    _REASONS,
)
BATCH: Final = Figure(
    "batch_orders", "Orders decided in one transaction.", "histogram", bounds=tuple(2.0**n for n in range(9))
)
POSTING: Final = Figure(
    "posting_seconds",
    "From an order's arrival in the queue to its signed receipt; each counts as the oldest of its transaction.",
    "histogram",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
POSTING_FAILURES: Final = Figure("posting_failures", "Transactions that were rolled back, or not signed.", "counter")
SESSIONS: Final = Figure(
    "sessions_opened", "Sessions that were opened, by stage.", "counter", "stage", tuple(stage.value for stage in Stage)
)
OPEN: Final = Figure("sessions", "Sessions open now.", "gauge")
OPENINGS_REFUSED: Final = Figure(
    "openings_refused", "Connections that were not let in, by reason code.", "counter", "reason", _REASONS
)
EVENTS: Final = Figure("journal_events", "Events of the journal, by level.", "counter", "level", _LEVELS)
GPG_STARTED: Final = Figure("gpg_processes_started", "Processes of gpg that were started.", "counter")
ENDED: Final = Figure("processes_ended", "Processes of the server that ended by themselves.", "counter")
CONNECTIONS: Final = Figure("connections", "Connections open now.", "gauge")
QUEUE: Final = Figure("queue_orders", "Orders that wait for the posting now.", "gauge")
WORKERS: Final = Figure("gpg_workers", "Customers for whom a gpg is kept now.", "gauge")
SEEN: Final = Figure("seen", "When the process was last seen at work, monotonic seconds.", "gauge")
FAILED: Final = Figure("failed", "When the posting last failed, monotonic seconds; 0 once it works again.", "gauge")

FIGURES: Final = (
    *(POSTED, PAYMENTS, REFUSED, REPEATED, REQUESTS_REFUSED, BATCH, POSTING, POSTING_FAILURES, SESSIONS),
    *(OPENINGS_REFUSED, EVENTS, GPG_STARTED, ENDED, OPEN, CONNECTIONS, QUEUE, WORKERS, SEEN, FAILED),
)
_STARTS: Final[Mapping[str, int]] = {
    figure.name: start
    for figure, start in zip(FIGURES, accumulate((each.cells for each in FIGURES), initial=0), strict=False)
}
_WIDTH: Final = sum(each.cells for each in FIGURES)


class Tally:
    """One process's place. What reads a number and writes it again is called by one thread at a time."""

    def __init__(self, cells: "memoryview[float]") -> None:
        self._cells = cells

    def add(self, figure: Figure, value: object = "", by: float = 1.0) -> None:
        """Count under a value of the figure's label; one that it does not have is not counted."""
        if value in figure.values:
            self._cells[_STARTS[figure.name] + figure.values.index(str(value))] += by

    def put(self, figure: Figure, number: float) -> None:
        """What a gauge shows from now on."""
        self._cells[_STARTS[figure.name]] = number

    def observe(self, figure: Figure, number: float, times: int = 1) -> None:
        """Add to a histogram."""
        start = _STARTS[figure.name]
        self._cells[start + bisect_left(figure.bounds, number)] += times
        self._cells[start + figure.cells - 1] += number * times

    def get(self, figure: Figure) -> tuple[float, ...]:
        """All numbers of a figure."""
        start = _STARTS[figure.name]
        return tuple(self._cells[start : start + figure.cells])

    def begin(self) -> None:
        """A process begins in this place: what was counted there stays, what was there is gone."""
        for figure in FIGURES:
            if figure.kind == "gauge":
                self.put(figure, 0.0)


class Figures:
    """The places of a server's processes; to be made before they are forked."""

    def __init__(self, places: int) -> None:
        cells = memoryview(mmap.mmap(-1, places * _WIDTH * CELL_BYTES)).cast("d")
        self.tallies: Final = tuple(Tally(cells[place * _WIDTH : (place + 1) * _WIDTH]) for place in range(places))

    def sum(self, figure: Figure) -> tuple[float, ...]:
        """The numbers of a figure, of all processes together."""
        return tuple(map(sum, zip(*(tally.get(figure) for tally in self.tallies), strict=True)))


class Counting(logging.Handler):
    """Counts what the journal is told of; the handler's lock sees to it that one thread counts at a time."""

    def __init__(self, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._tally = tally
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        fields, tally = fields_of(record), self._tally
        tally.add(EVENTS, record.levelname.lower())
        match record.msg:
            case "batch":
                self._batch(fields)
            case "batch-failed" | "head-unsigned":
                tally.add(POSTING_FAILURES)
                tally.put(FAILED, self._clock())
            case "session-opened":
                tally.add(SESSIONS, fields["stage"])
                tally.add(OPEN)
            case "session-ended":
                tally.add(OPEN, by=-1)
            case "refused":
                tally.add(OPENINGS_REFUSED, fields["reason"])
            case "malformed":
                tally.add(OPENINGS_REFUSED, Reason.MALFORMED.value)
            case "request-refused":
                tally.add(REQUESTS_REFUSED, fields["reason"])
            case "process-ended":
                tally.add(ENDED)
            case "gpg-started":
                tally.add(GPG_STARTED)

    def _batch(self, fields: Mapping[str, object]) -> None:
        tally, orders = self._tally, int(_number(fields["orders"]))
        tally.add(POSTED, by=_number(fields["posted"]))
        tally.add(PAYMENTS, by=_number(fields["payments"]))
        tally.add(REPEATED, by=_number(fields["repeated"]))
        for figure, counts in ((REFUSED, fields["refused"]), (REQUESTS_REFUSED, fields["unrecorded"])):
            for reason, count in counts.items() if isinstance(counts, dict) else ():
                tally.add(figure, reason, count)
        tally.observe(BATCH, orders)
        tally.observe(POSTING, _number(fields["seconds"]), orders)
        tally.put(FAILED, 0.0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
