"""A bank is killed again and again at drawn steps; each time what its customers hold is compared with its books.

The server is a process; the customers are their own library inside this one, with real homes, outboxes and gpg.
"""

import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bank import schema
from bank.home import BankHome
from customer import conversing, sending, wishes
from customer.errors import CustomerError, NotProven
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.session import Conversation
from customer.store import State
from customer.wire import Event
from customer.wishes import BulkWish
from keyring.errors import KeyringError
from protocol import messages
from protocol.errors import ProtocolError
from protocol.messages import NumberedReceipt, SubmitOrder
from protocol.money import format_amount, parse_amount
from protocol.orders import Payment
from protocol.receipts import BulkEntry, Entry, decode_entry
from protocol.stages import Stage
from tests.system.town import Person, Stand
from tests.trials.durability.crash_steps import STEPS, Phase, Step, named

DRIVER: Final = Path(__file__).with_name("dying_bank.py")
ROOT: Final = DRIVER.parents[3]

LIFE_SECONDS: Final = 120.0
"""Longest life of a server: it is killed long before that, or the step is never met."""

TIMES: Final = {Phase.OPENING: 2, Phase.ORDER: 6, Phase.RETRY: 2, Phase.QUIET: 2, Phase.START: 1, Phase.STOP: 1}
"""A step is struck at one of so many times that it is met."""

TOO_MUCH: Final = "5000.00"
"""More than anybody has: a refusal is a decision, too."""


class Line(threading.Thread):
    """A customer who sends while the bank lives, and first finds out what became of what was under way."""

    def __init__(self, person: Person, creditor: str, stage: Stage, draw: random.Random, alive: Callable[[], bool]):
        super().__init__(name=f"{person.name} in the stage {stage.value}", daemon=True)
        self.caught_up = threading.Event()
        self.answered: dict[str, tuple[int, bytes]] = {}
        """By identity: place and bytes of the entry in every receipt that arrived, read to its end or not."""
        self.contradicted: list[str] = []
        """What two receipts say differently, or a receipt and the log that the bank signed before."""
        self.ended = ""
        self._person, self._creditor, self._stage, self._draw, self._alive = person, creditor, stage, draw, alive

    def run(self) -> None:
        while self._alive():
            try:
                with (
                    self._person.opened(World(watch=self._watch)) as home,
                    conversing.conversation(home, self._stage) as talk,
                ):
                    self._resume(home, talk)
                    self.caught_up.set()
                    while self._alive():
                        self._send(home, talk)
                        # Sometimes there is time enough for the bank to find that it has nothing to do.
                        time.sleep(self._draw.choice((0, 0, 0, 0.12)))
            except NotProven as error:
                self.contradicted.append(str(error))
                return
            except (CustomerError, ProtocolError, KeyringError) as error:
                self.ended = str(error)
                time.sleep(0.02)

    def _resume(self, home: CustomerHome, talk: Conversation) -> None:
        """As `customer resume` does, in one session; and an order that was answered long ago is asked for again."""
        again = [*home.store.in_doubt()]
        if settled := [each for each in home.store.orders() if not each.state.in_doubt]:
            again.append(self._draw.choice(settled))
        for order in again:
            sending._Delivery(home, order, fresh=False).decision(talk)

    def _send(self, home: CustomerHome, talk: Conversation) -> None:
        """Some orders at once, each in the outbox before the first is sent."""
        view = conversing.view_in(home, talk)
        orders = [wishes.made(home, self._wish(), self._stage) for _ in range(self._draw.randrange(1, 4))]
        for order in orders:
            home.store.put(order)
        deliveries = [sending._Delivery(home, order, fresh=True) for order in orders]
        since = home.store.newest_head()
        size = since.head.size if since else None
        requests = [SubmitOrder(number=0, order=order.message, since=size) for order in orders]
        for delivery, answer in zip(deliveries, talk.ask(*requests), strict=True):
            if isinstance(answer, NumberedReceipt):
                delivery._accepted(answer.receipt, talk, view)

    def _wish(self) -> Wish | BulkWish:
        cents = self._draw.randrange(1, 300)
        amount = TOO_MUCH if self._draw.random() < 0.1 else f"{cents // 100}.{cents % 100:02d}"
        if self._draw.random() < 0.2:
            payments = tuple(Payment(amount, self._creditor, f"{place}") for place in range(3))
            total = format_amount(3 * parse_amount(amount, "EUR"), "EUR")
            return BulkWish(payments, total, "EUR", "atomic", self._stage)
        return wishes.checked(Wish(self._creditor, amount, "", "EUR", stage=self._stage))

    def _watch(self, event: Event) -> None:
        """Whatever receipt arrives counts, also if the connection breaks before the program has read it."""
        if event.title != "Record received" or b'"receipt"' not in event.content:
            return
        answer = messages.decode_answer(event.content)
        if isinstance(answer, NumberedReceipt):
            entry = decode_entry(answer.receipt.entry)
            name, said = f"{entry.debtor}/{entry.transfer_identifier}", (answer.receipt.index, answer.receipt.entry)
            if self.answered.setdefault(name, said) != said:
                self.contradicted.append(name)


@dataclass
class Books:
    """What the bank's ledger says, read on from where it was read to before."""

    home: Path
    entries: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    size: int = 0
    doubled: set[str] = field(default_factory=set)
    balance: int = 0
    """The sum of all accounts, and of the two sides of every booking."""

    def read(self) -> None:
        """Reads what has been added."""
        entry, booking, account = schema.entry.c, schema.booking.c, schema.account.c
        with BankHome.open(self.home).open_ledger() as ledger, ledger.reading() as connection:
            added = connection.execute(
                select(entry.leaf, entry.identity, entry.entry).where(entry.leaf >= self.size).order_by(entry.leaf)
            ).all()
            legs = connection.execute(
                select(booking.leaf, func.count(), func.sum(booking.amount_minor))
                .where(booking.leaf >= self.size)
                .group_by(booking.leaf)
            ).all()
            self.balance += connection.execute(select(func.sum(account.balance_minor))).scalar_one()
        counted = {leaf: count for leaf, count, _ in legs}
        self.balance += sum(abs(total) for _, _, total in legs)
        for leaf, name, data in added:
            expected = _legs(decode_entry(data))
            if leaf != self.size or name in self.entries or counted.pop(leaf, 0) != expected:
                self.doubled.add(name)
            self.entries[name] = (leaf, data)
            self.size = leaf + 1
        self.doubled |= {f"bookings of entry {leaf}" for leaf in counted}


def _legs(entry: Entry) -> int:
    """How many legs the bookings of an entry have: two, or of a bulk order one and one for each payment."""
    if entry.reference is None:
        return 0
    return 1 + entry.count - len(entry.refused) if isinstance(entry, BulkEntry) else 2


@dataclass
class Report:
    """How it went."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    balance: int = 0
    verified: bool = False
    orders: int = 0
    posted: int = 0

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return self.verified and not (self.lost or self.doubled or self.unanswered or self.balance)

    def __str__(self) -> str:
        zero = "zero" if self.balance == 0 else f"OFF BY {self.balance}"
        return (
            f"{self.kills.total()} kills: {len(self.lost)} lost, {len(self.doubled)} doubled, trial balance {zero}, "
            f"log {'verified' if self.verified else 'NOT VERIFIED'} (seed {self.seed}; {self.orders} orders, "
            f"{self.posted} posted, {len(self.unanswered)} without a final answer, {len(self.kills)} different steps)"
        )


class Crashes:
    """Kills the bank of a stand, life after life; everything that is drawn follows from the seed, save the threads."""

    def __init__(self, stand: Stand, seed: int) -> None:
        self.report = Report(seed)
        self._stand = stand
        self._draw = random.Random(seed)
        self._struck = stand.folder / "struck"
        self._books = Books(stand.home)
        self._people = (
            (stand.ready("alice", Stage.CERTIFIED), "1002", Stage.CERTIFIED),
            (stand.ready("bob", Stage.SESSION), "1001", Stage.SESSION),
        )
        self._answered: dict[str, tuple[int, bytes]] = {}
        self._coming = self._steps()
        stand.environment["PYTHONPATH"] = str(ROOT)

    def run(
        self, kills: int, steps: Iterable[Step] = (), progress: Callable[[Report], None] = lambda _: None
    ) -> Report:
        """So many kills more, at drawn steps; then the account of it."""
        self._begin()
        enough = self.report.kills.total() + kills
        while self.report.kills.total() < enough:
            self._kill(next(self._coming))
            progress(self.report)
        self._close()
        return self.report

    def kill_at(self, steps: Iterable[Step]) -> Report:
        """Kills at just these steps, then the account of it."""
        self._begin()
        for step in steps:
            self._kill(step)
        self._close()
        return self.report

    def steps_met(self) -> set[str]:
        """The names of the steps that are met in a life that begins after a kill and ends with SIGTERM."""
        self._stand.stop()
        self._kill(named("after commit"))
        self._start(None, "*")
        self._live(None, answers=4)
        # The last of them to be met before SIGTERM, when nobody sends any more.
        deadline = time.monotonic() + LIFE_SECONDS
        while "head stored by itself\n" not in self._struck.read_text():
            assert time.monotonic() < deadline, self._struck.read_text()
            time.sleep(0.02)
        assert self._stand.stop() == 0
        return set(self._struck.read_text().splitlines())

    def _begin(self) -> None:
        """Before the first kill each customer has an answer, so that a life may be ended as an order is asked for."""
        self._stand.stop()
        if not self._answered:
            self._start(None)
            self._live(None, answers=1)
            assert self._stand.stop() == 0

    def _steps(self) -> Iterator[Step]:
        while True:
            yield from self._draw.sample(STEPS, len(STEPS))

    def _kill(self, step: Step) -> None:
        if step.phase is Phase.START:
            # Something to heal at the start, which is then the next to be killed.
            self._kill(named("after commit"))
        self._start(step)
        if self._stand.server is not None:  # else the step was met at the start already
            self._live(step)
        assert self._stand.server is None or self._stand.server.process.wait(LIFE_SECONDS) == -signal.SIGKILL, (
            f"{step.name} (seed {self.report.seed}): {self._stand.log.read_text()[-3000:]}"
        )
        assert self._struck.read_text() == step.name
        self._stand.kill()
        self.report.kills[step.name] += 1

    def _start(self, step: Step | None, otherwise: str = "-") -> None:
        self._struck.unlink(missing_ok=True)
        count = self._draw.randint(1, TIMES[step.phase]) if step else 0
        words = (str(DRIVER), step.name if step else otherwise, str(count), str(self._struck))
        self._stand.played_by = (sys.executable, *words)
        try:
            self._stand.start()
        except AssertionError:
            if not self._struck.exists():
                raise

    def _live(self, step: Step | None, answers: int = 0) -> None:
        """Customers at work until the bank is dead; without a step, until they have caught up and so many answers."""
        assert self._stand.server
        process, enough = self._stand.server.process, threading.Event()
        lines = [
            Line(*each, random.Random(self._draw.random()), lambda: process.poll() is None and not enough.is_set())
            for each in self._people
        ]
        for line in lines:
            line.start()
        try:
            deadline = time.monotonic() + LIFE_SECONDS
            compared = False
            while process.poll() is None and not enough.is_set():
                if not compared and all(line.caught_up.is_set() for line in lines):
                    compared = True
                    self._compare(lines)
                    if step is not None and step.phase is Phase.STOP:
                        process.send_signal(signal.SIGTERM)
                if step is None and compared and all(len(line.answered) >= answers for line in lines):
                    enough.set()
                contradicted = [f"{line.name}: {line.contradicted}" for line in lines if line.contradicted]
                assert not contradicted, (contradicted, f"seed {self.report.seed}")
                said = [f"{line.name}: {line.ended}" for line in lines]
                assert time.monotonic() < deadline, f"{step} was not met (seed {self.report.seed}; {said})"
                time.sleep(0.005)
        finally:
            enough.set()
            for line in lines:
                line.join(LIFE_SECONDS)
        self._learn(lines)

    def _learn(self, lines: Iterable[Line]) -> None:
        """Taken while they go on: what arrives during the look at the books is compared the next time."""
        for line in lines:
            for name, said in list(line.answered.items()):
                if self._answered.setdefault(name, said) != said:
                    self.report.doubled.add(name)
            self.report.doubled |= set(line.contradicted)

    def compare(self) -> None:
        """As in the midst of it, of a bank that is not serving: its books are read anew from their beginning."""
        self._books = Books(self._stand.home)
        self._compare(())

    def _compare(self, lines: Iterable[Line]) -> None:
        """Every receipt that any customer ever got is of an entry that the books have, at that place, byte for byte."""
        self._learn(lines)
        answered = dict(self._answered)
        self._books.read()
        self.report.balance = self._books.balance
        self.report.doubled |= self._books.doubled
        self.report.lost |= {name for name, said in answered.items() if self._books.entries.get(name) != said}

    def _close(self) -> None:
        """A last life without a death, in which every order gets its final answer; then everything is looked at."""
        self._start(None)
        self._live(None)
        assert self._stand.stop() == 0
        self._compare(())
        self.report.orders = self.report.posted = 0
        for person, _, _ in self._people:
            with person.opened() as home:
                for order in home.store.orders():
                    name = f"{person.number}/{order.identifier}"
                    self.report.orders += 1
                    self.report.posted += order.state is State.POSTED
                    ours = order.receipt and (order.receipt.index, order.receipt.entry)
                    if order.state.in_doubt or ours is None or ours != self._books.entries.get(name):
                        self.report.unanswered.add(f"{name} is {order.state.value}")
        self.report.verified = self._stand.bank("audit", code=None).code == 0
