"""The load generator is a process of its own that sends signed orders and counts those whose receipts it has verified.

``python -m tests.bench.load FILE`` reads a :class:`Plan` and prints what it found as JSON. In a closed loop each
connection has as many orders outstanding as the plan says; in an open loop orders are sent when their time has come,
whatever the bank answers, and latency is taken from that time.
"""

import resource
import selectors
import sys
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import msgspec
from hdrh.histogram import HdrHistogram

from protocol.messages import AskHead, Head, NumberedReceipt, Refusal, SubmitOrder
from protocol.receipts import ReceiptError
from protocol.transport import Address
from tests.bench.cast import read_cast
from tests.bench.checking import Checker
from tests.bench.line import Line, Opening, prepare
from tests.bench.orders import Signed, read_orders
from tests.bench.processes import idle_seconds, processor_seconds

DRAIN_SECONDS = 30.0
LOOK_SECONDS = 0.05
HIGHEST_MICROSECONDS = 60_000_000
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


class Plan(msgspec.Struct, frozen=True):
    """What to do: ``rate`` orders a second in an open loop, or, where it is 0, so many ``outstanding`` in a closed one.

    The first ``connections`` customers have one connection each. ``server`` is the bank's process, ``home`` its GnuPG
    home: their processor time is read at both ends of the measured time.
    """

    address: str
    cast: str
    orders: str
    connections: int
    seconds: float
    warm_seconds: float
    orders_each: int
    server: int
    home: str
    outstanding: int = 1
    rate: float = 0.0
    skip: int = 0
    """Orders of each customer that an earlier run on this ledger has used."""
    usual: bool = False
    """Heads are signed by the bank's primary key, as the usual way does it."""


class Found(msgspec.Struct, frozen=True):
    """What came of it, in the measured time.

    ``per_second``: verified receipts; ``processor_ms``: processor time for each of them by whose it is, ``load`` being
    this process; ``latency_ms``: from the scheduled start to the verified receipt; ``began``: when the measured time
    did, in unix seconds.
    """

    per_second: float
    transfers: int
    seconds: float
    began: float
    latency_ms: dict[str, float]
    processor_ms: dict[str, float]
    idle_share: float
    batch_mean: float
    batch_largest: int
    refusals: dict[str, int]
    unanswered: int
    ran_out: bool
    heads_verified_by_gpg: int
    sent: int


class _Client:
    """One connection: its orders, and those that wait for a receipt, with the time from which they are measured."""

    def __init__(self, line: Line, number: str, orders: list[Signed]) -> None:
        self.line = line
        self.number = number
        self.orders = deque(orders)
        self.waiting: deque[tuple[float, Signed]] = deque()

    def send(self, starts: list[float]) -> bool:
        """Send the next orders, scheduled then; False if there are not so many any more."""
        taken = [self.orders.popleft() for _ in range(min(len(starts), len(self.orders)))]
        if taken:
            self.waiting.extend(zip(starts, taken, strict=False))
            self.line.send(*[partial(SubmitOrder, order=each.message, since=None) for each in taken])
        return len(taken) == len(starts)


class Load:
    """A run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cast = read_cast(Path(plan.cast))
        self.checker = Checker(self.cast)
        self.latency = HdrHistogram(1, HIGHEST_MICROSECONDS, 3)
        self.refusals: Counter[str] = Counter()
        self.ran_out = False
        self.sent = 0
        self.transfers = 0
        self._window = (float("inf"), float("inf"))
        self._selector = selectors.DefaultSelector()

    def run(self) -> Found:
        """Open, warm up, measure, wait for what is outstanding, have gpg verify the heads again."""
        parties = self.cast.parties[: self.plan.connections]
        with ThreadPoolExecutor(2) as pool:
            openings: list[Opening] = list(pool.map(partial(prepare, self.cast), parties))
        address, take = Address.parse(self.plan.address), self.plan.skip + self.plan.orders_each
        orders = [read_orders(Path(self.plan.orders), party.number, take)[self.plan.skip :] for party in parties]
        heads = []
        with ExitStack() as stack:
            clients = []
            for party, opening, each in zip(parties, openings, orders, strict=True):
                client = _Client(stack.enter_context(closing(Line.open(address, opening))), party.number, each)
                # At once: the bank waits ten seconds for the first request, and only then the session counts as open.
                heads.append(self._ask_head(client, None))
                clients.append(client)
                self._selector.register(client.line.socket, selectors.EVENT_READ, client)
            measured = self._measure(clients)
            for client, first in zip(clients, heads, strict=True):
                self._require_continued(client, first.head)
        return measured

    def _measure(self, clients: list[_Client]) -> Found:
        begun = time.perf_counter()
        start, end = begun + self.plan.warm_seconds, begun + self.plan.warm_seconds + self.plan.seconds
        self._window = (start, end)
        pace = _Pace(self.plan.rate, begun, clients) if self.plan.rate else None
        if pace is None:
            for client in clients:
                self._send(client, [time.perf_counter()] * self.plan.outstanding)
        self._until(start, pace)
        began = time.time()
        before, batches_before = self._usage(), Counter(self.checker.heads)
        self._until(end, pace)
        after, batches = self._usage(), self.checker.heads - batches_before
        self._until(end + DRAIN_SECONDS, None, drain=True)
        unanswered = sum(len(client.waiting) for client in clients)
        taken = max(self.transfers, 1)
        used = {name: round((after[name] - before[name]) / taken * 1000, 4) for name in after if name != "idle"}
        return Found(
            per_second=round(self.transfers / self.plan.seconds, 1),
            transfers=self.transfers,
            seconds=self.plan.seconds,
            began=began,
            latency_ms=self._percentiles(),
            processor_ms=used,
            idle_share=round((after["idle"] - before["idle"]) / self.plan.seconds / _processors(), 3),
            batch_mean=round(batches.total() / max(len(batches), 1), 1),
            batch_largest=max(batches.values(), default=0),
            refusals=dict(self.refusals),
            unanswered=unanswered,
            ran_out=self.ran_out,
            heads_verified_by_gpg=self.checker.require_gpg_agrees(by_primary=self.plan.usual),
            sent=self.sent,
        )

    def _until(self, deadline: float, pace: "_Pace | None", *, drain: bool = False) -> None:
        while (now := time.perf_counter()) < deadline:
            due = deadline
            if pace is not None:
                for client, starts in pace.due(now):
                    self._send(client, starts)
                due = min(deadline, pace.next)
            for key, _ in self._selector.select(max(0.0, min(due - time.perf_counter(), LOOK_SECONDS))):
                self._hear(key.data, go_on=pace is None and not self.plan.rate and not drain)
            if drain and not any(key.data.waiting for key in self._selector.get_map().values()):
                return

    def _send(self, client: _Client, starts: list[float]) -> None:
        before = len(client.orders)
        if not client.send(starts):
            self.ran_out = True
        self.sent += before - len(client.orders)

    def _hear(self, client: _Client, *, go_on: bool) -> None:
        answered = 0
        for answer in client.line.received():
            start, signed = client.waiting.popleft()
            answered += 1
            if isinstance(answer, NumberedReceipt):
                self.checker.check(answer.receipt, signed, client.number)
                self._count(start)
            elif isinstance(answer, Refusal):
                self.refusals[answer.reason.value] += 1
            else:
                raise ReceiptError(f"An order was answered with {type(answer).__name__}.")
        if answered and go_on:
            self._send(client, [time.perf_counter()] * answered)

    def _count(self, start: float) -> None:
        now = time.perf_counter()
        first, last = self._window
        if first <= now < last:
            self.transfers += 1
        if first <= start < last:
            self.latency.record_value(max(1, int((now - start) * 1_000_000)))

    def _percentiles(self) -> dict[str, float]:
        found = {name: self.latency.get_value_at_percentile(each) / 1000 for name, each in PERCENTILES.items()}
        return {**found, "max": self.latency.get_max_value() / 1000}

    def _usage(self) -> dict[str, float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        used = processor_seconds(self.plan.server, self.plan.home)
        return {**used, "load": own.ru_utime + own.ru_stime, "idle": idle_seconds()}

    def _ask_head(self, client: _Client, since: int | None) -> Head:
        answer = client.line.ask(partial(AskHead, since=since))
        if not isinstance(answer, Head):
            raise ReceiptError(f"A head was asked for, and the answer is {answer}.")
        return answer

    def _require_continued(self, client: _Client, first: bytes) -> None:
        if client.waiting:
            return
        newest = self._ask_head(client, self.checker.head(first).size)
        self.checker.require_continued(first, newest.head, newest.consistency)


class _Pace:
    """An even schedule over all connections in turn, which no answer slows down."""

    def __init__(self, rate: float, begun: float, clients: list[_Client]) -> None:
        self._step = 1 / rate
        self._clients = clients
        self._sent = 0
        self._begun = begun

    @property
    def next(self) -> float:
        return self._begun + self._sent * self._step

    def due(self, now: float) -> list[tuple[_Client, list[float]]]:
        """Who is to send now, and the times at which that was to be."""
        found: dict[int, list[float]] = {}
        while self.next <= now:
            found.setdefault(self._sent % len(self._clients), []).append(self.next)
            self._sent += 1
        return [(self._clients[place], starts) for place, starts in found.items()]


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0))


def main(file: str) -> None:
    """Run the plan in a file."""
    plan = msgspec.json.decode(Path(file).read_bytes(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(Load(plan).run()) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
