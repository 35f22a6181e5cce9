"""One run of the benchmark: what it was asked for, and what each measurement has found so far."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.load import Found
from tests.bench.orders import sign_orders
from tests.bench.stand import Stand, standing
from tests.bench.town import CUSTOMERS, BenchTown

WARM_SECONDS = 2.0


class Skipped(Exception):
    """A measurement cannot be taken here; the text says why."""


@dataclass(frozen=True)
class Progress:
    """Says what is being done on standard error, with the seconds since the start."""

    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def __call__(self, line: str) -> None:
        sys.stderr.write(f"[{self.seconds:5.0f} s] {line}\n")


@dataclass
class Run:
    """``options``: further ones of `bank serve`; ``quick``: each measurement once and short, to see that it works."""

    town: BenchTown
    processes: int
    options: tuple[str, ...]
    quick: bool
    orders_each: int
    say: Progress
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def serving(self) -> tuple[str, ...]:
        """What `bank serve` is told."""
        return ("--processes", str(self.processes), *self.options)

    def sign(self, orders: int, customers: int = CUSTOMERS) -> None:
        """See that each of the first customers has so many signed orders."""
        cast = self.town.cast
        parties = [(each.number, each.certificate_digest, each.signing) for each in cast.parties[:customers]]
        made = sign_orders(self.town.orders, cast.bank, parties, orders, processors())
        if made:
            self.say(f"{made} orders were signed")

    def seconds(self, full: float) -> float:
        """How long to measure what takes so long in a full run."""
        return max(3.0, full / 4) if self.quick else full

    def rounds(self, full: int) -> int:
        """How often."""
        return 1 if self.quick else full

    def closed(self, outstanding: int, seconds: float, **options: Any) -> Found:
        """A closed loop against a bank of its own."""
        with standing(self.town, *self.serving, **options) as stand:
            return self.closed_at(stand, outstanding, seconds)

    def closed_at(self, stand: Stand, outstanding: int, seconds: float, **given: Any) -> Found:
        """A closed loop against a bank that serves; all 64 connections unless told otherwise."""
        settings = {"connections": CUSTOMERS, "orders_each": self.orders_each, "warm_seconds": WARM_SECONDS, **given}
        found = stand.load(seconds=self.seconds(seconds), outstanding=outstanding, **settings)
        self.say(f"  {told(found)}")
        return found


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


Measurement = Callable[[Run], dict[str, Any]]


def told(found: Found) -> str:
    """A run of the load generator in one line."""
    processor = " ".join(f"{name} {value:.2f}" for name, value in found.processor_ms.items())
    odd = "".join(
        f", {text}"
        for wrong, text in (
            (found.refusals, f"refused {found.refusals}"),
            (found.unanswered, f"{found.unanswered} unanswered"),
            (found.ran_out, "the orders ran out"),
        )
        if wrong
    )
    return (
        f"{found.per_second:.0f} a second, p99 {found.latency_ms['p99']:.0f} ms, batches of {found.batch_mean:.0f}, "
        f"processor ms a transfer: {processor}; idle {found.idle_share:.0%}{odd}"
    )


def middle(values: list[float]) -> float:
    """The median: one disturbed round decides nothing."""
    return float(median(values))
