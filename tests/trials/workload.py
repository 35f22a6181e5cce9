"""The bank workload of Jepsen: customers transfer at random and look at their balances, others read all accounts."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bank import accounts
from bank.errors import LedgerError
from bank.home import BankHome
from customer import conversing, sending
from customer.errors import CustomerError, NotSent, OutcomeUnknown, RefusedByBank
from customer.home import CustomerHome
from customer.sending import Wish
from customer.store import StoredOrder
from keyring.errors import KeyringError
from protocol.errors import ProtocolError
from protocol.messages import AskBalance, Balance
from protocol.receipts import LogEntry
from protocol.stages import Stage
from tests.singles import single, single_order
from tests.system.town import Person, Stand
from tests.trials.history import Ended, History, Look, Try

Act = Callable[[CustomerHome], sending.Outcome]

RESOLVE_SECONDS = 120.0
"""How long the orders in doubt may take to be settled once all faults are healed."""


@dataclass
class Workload:
    """Runs against one bank, and keeps what everybody saw. ``pause_seconds``: at most, between two things done."""

    stand: Stand
    people: list[Person]
    stage: Stage
    seed: int
    pause_seconds: float
    highest_minor: int = 12_00
    readers: int = 2
    ledger_may_be_away: bool = False
    """Whether the operator's own reading may fail, since the ledger is on another machine."""
    tries: list[Try] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    looks_failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Why tries ended without anything decided, and how often."""
    _before: dict[str, int] = field(default_factory=dict)
    _leaves: int = 0

    def run(self, until: Callable[[], object]) -> History:
        """Customers and readers at work until ``until`` returns; then all that is in doubt is settled."""
        self._before, self._leaves = self._balances(), len(self._log()[1])
        done = threading.Event()
        with _threads() as start:
            try:
                for person in self.people:
                    start(self._customer, person, done)
                for _ in range(self.readers):
                    start(self._reader, done)
                until()
            finally:
                done.set()
        with _threads() as start:
            for person in self.people:
                start(self._settle, person)
        return self.seen()

    def seen(self) -> History:
        """What everybody saw, and the log and the balances as they are now."""
        entries, leaves = self._log()
        mine = slice(self._leaves, None)
        return History(self._before, self.tries, self.looks, entries[mine], leaves[mine], self._balances())

    def tell(self) -> str:
        """What was done, in one line."""
        ends = {end: sum(each.end is end for each in self.tries) for end in Ended}
        counts = ", ".join(f"{count} {end.value}" for end, count in ends.items())
        why = "".join(f"\n{count} times {reason}" for reason, count in self.failures.most_common(8))
        return f"seed {self.seed}: {len(self.tries)} tries ({counts}), {len(self.looks)} readings{why}"

    def _customer(self, person: Person, done: threading.Event) -> None:
        draw = random.Random(f"{self.seed} {person.number}")
        made = 0
        with person.opened() as home:
            while not done.is_set():
                match draw.choices(("send", "again", "look"), (7, 2, 2))[0]:
                    case "again" if made:
                        order = home.store.find(f"t-{draw.randrange(made)}")
                        if order:
                            first = single_order(order.order)
                            self._try(home, first.creditor, first.amount, order.identifier, _again(order))
                    case "look":
                        self._look(home)
                    case _:
                        to = draw.choice([each.number for each in self.people if each is not person])
                        amount = f"{draw.randint(1, self.highest_minor) / 100:.2f}"
                        wish = Wish(to, amount, "", "EUR", self.stage, f"t-{made}")
                        made += 1
                        self._try(home, to, amount, f"t-{made - 1}", _first(wish))
                done.wait(draw.uniform(0, self.pause_seconds))

    def _try(self, home: CustomerHome, to: str, amount: str, identifier: str, act: Act) -> None:
        """Have a transfer made, and keep how it ended."""
        minor, begun = int(amount.replace(".", "")), time.monotonic()
        leaf = reason = None
        try:
            outcome = act(home)
        except OutcomeUnknown:
            end = Ended.INFO
        except (NotSent, RefusedByBank) as error:
            end = Ended.FAIL
            self.failures[f"{home.number}: {error}"] += 1
        else:
            end = Ended.OK if outcome.receipt else Ended.FAIL  # such as "busy", which uses up nothing
            if not outcome.receipt:
                self.failures[f"{home.number}: {outcome.reason}"] += 1
            if outcome.receipt:
                leaf, reason = outcome.receipt.index, outcome.reason
        ended = time.monotonic()
        self.tries.append(Try(home.number, identifier, to, minor, begun, ended, end, leaf, reason))

    def _look(self, home: CustomerHome) -> None:
        """A customer asks for the own balance, twice in a session."""
        try:
            with conversing.conversation(home, self.stage) as talk:
                for _ in range(2):
                    begun = time.monotonic()
                    answer = conversing.ask(talk, AskBalance(number=0), Balance)
                    minor = int(answer.balance.replace(".", ""))
                    self.looks.append(Look(begun, time.monotonic(), {home.number: minor}))
        except (CustomerError, ProtocolError, KeyringError):
            self.looks_failed += 1

    def _reader(self, done: threading.Event) -> None:
        """The operator reads all accounts, as `bank accounts` does, whatever happens to the server."""
        while not done.is_set():
            begun = time.monotonic()
            try:
                balances = self._balances()
            except LedgerError:
                if not self.ledger_may_be_away:
                    raise
                self.looks_failed += 1
            else:
                self.looks.append(Look(begun, time.monotonic(), balances))
            done.wait(self.pause_seconds / 4)

    def _settle(self, person: Person) -> None:
        """`customer resume`, repeated for as long as the bank has not recovered."""
        deadline = time.monotonic() + RESOLVE_SECONDS
        with person.opened() as home:
            while orders := home.store.in_doubt():
                for order in orders:
                    made = single_order(order.order)
                    self._try(home, made.creditor, made.amount, order.identifier, _again(order))
                assert time.monotonic() < deadline, f"{len(orders)} orders of {person.number} stay in doubt"
            self._look(home)

    def _balances(self) -> dict[str, int]:
        numbers = {person.number for person in self.people}
        with BankHome.open(self.stand.home).open_ledger() as ledger:
            return {each.number: each.balance_minor for each in accounts.every(ledger) if each.number in numbers}

    def _log(self) -> tuple[list[LogEntry], list[int]]:
        with BankHome.open(self.stand.home).open_ledger() as ledger:
            found = accounts.transfers(ledger, lines=1_000_000)
        return [single(each.entry) for each in found], [each.leaf for each in found]


def _first(wish: Wish) -> Act:
    return lambda home: sending.send(home, wish)


def _again(order: StoredOrder) -> Act:
    return lambda home: sending.send_again(home, order)


@contextmanager
def _threads() -> Iterator[Callable[..., None]]:
    """Starts threads, waits for them in the end, and raises what the first of them raised."""
    failures: list[BaseException] = []
    started: list[threading.Thread] = []

    def guarded(work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread of the test
            failures.append(error)

    def start(work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=guarded, args=(work, *arguments))
        started.append(thread)
        thread.start()

    try:
        yield start
    finally:
        for thread in started:
            thread.join()
    if failures:
        raise failures[0]
