"""Ten customers at once lose nothing and gain nothing, also when the server is killed among them.

They share one process here, a thread each, and each has a home, a key and TCP connections of its own. The thousand
transfers of the first test are pipelined in one session for each customer and stage, since a gpg process for every
single one would measure nothing but gpg; the transfers of the second are made by the whole of `customer send`.
"""

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bank import accounts
from bank.home import BankHome
from customer import conversing, sending
from customer.bank_view import BankView
from customer.errors import NotSent, OutcomeUnknown, RefusedByBank
from customer.sending import Wish
from customer.store import KeptHead
from keyring import messages as openpgp
from protocol.messages import NumberedReceipt
from protocol.receipts import LogEntry, check_inclusion
from protocol.stages import Stage
from tests.singles import single
from tests.system import crafted
from tests.system.town import EIGHT, NUMBERS, Person, Stand, Town, standing, submit

TEN = {**EIGHT, "alice": NUMBERS["alice"], "bob": NUMBERS["bob"]}
TRANSFERS = 100
SIGNED = 10
"""Of the hundred, so many are signed orders in the stage certified; the others come before, in the stage session."""
PIPELINE = 30
SENDS = 4
SEEDS = 3


@pytest.fixture(scope="session")
def big_town(town: Town, make_short_tmp: Callable[[], Path]) -> Town:
    """The same authority, and a bank with eight further customers, all certified."""
    folder = make_short_tmp()
    shutil.copytree(town.folder / "bank", folder / "bank", ignore=shutil.ignore_patterns("S.*"))
    big = Town(folder, town.desk, town.desk_address, town.authority)
    for name, number in TEN.items():
        if name in EIGHT:
            town.admit(name, number, certified=True, money=True, bank=folder / "bank")
        shutil.copytree(town.folder / name, folder / name, ignore=shutil.ignore_patterns("S.*"))
        shutil.copy(town.folder / f"{name}.letter", folder)
        big.names[name] = number
    return big


@pytest.fixture
def big_stand(big_town: Town, short_tmp: Path) -> Iterator[Stand]:
    # A customer may have more refusals than usual: what is counted here is whether each is in the log.
    with standing(big_town, short_tmp, refusals_per_minute=1000) as stand:
        yield stand


@dataclass
class Ledger:
    """What the customers can prove, to be compared with what the bank has."""

    entries: list[LogEntry] = field(default_factory=list)

    def balances(self) -> dict[str, int]:
        found = dict.fromkeys(TEN.values(), 1000_00)
        for entry in self.entries:
            if entry.reason is None:
                cents = int(entry.amount.replace(".", ""))
                found[entry.debtor] -= cents
                found[entry.creditor] += cents
        return found


def bank_balances(stand: Stand) -> dict[str, int]:
    with BankHome.open(stand.home).open_ledger() as ledger:
        return {each.number: each.balance_minor for each in accounts.every(ledger) if each.number in TEN.values()}


def at_once(work: Callable[[Person], list[LogEntry]], people: list[Person]) -> Ledger:
    with ThreadPoolExecutor(len(people)) as pool:
        return Ledger([entry for found in pool.map(work, people) for entry in found])


def proven(view: BankView, heads: dict[bytes, KeptHead], answer: NumberedReceipt) -> LogEntry:
    """The entry of a receipt, its head verified by gpg once for all the receipts that share it."""
    message = answer.receipt.head
    if message not in heads:
        heads[message] = view.open_head(message)
    return single(check_inclusion(answer.receipt, heads[message].head))


def test_trial_01_ten_customers_send_a_hundred_transfers_each(big_stand: Stand) -> None:
    people = [big_stand.ready(name, Stage.SESSION) for name in TEN]
    seed = random.randrange(10**6)

    def orders_of(person: Person, stage: Stage, count: int) -> list[bytes]:
        draw = random.Random(f"{seed} {person.number} {stage}")
        with person.opened() as home:
            certificate = {"certificate": crafted.certificate(home)} if stage.is_certified else {}
            found = []
            for number in range(count):
                to = draw.choice([each for each in TEN.values() if each != person.number])
                # Some of these are more than there can be: refusals are decisions, too.
                amount = f"{draw.choice([5, 40, 300])}.{draw.randrange(100):02d}"
                wanted = {"amount": amount, "creditor": to, "debtor": person.number, **certificate}
                content = crafted.order(big_stand, f"{stage.value}-{number}", **wanted)
                signed = stage.orders_are_signed
                found.append(openpgp.sign(home.keys, home.key, content) if signed else content)
        return found

    def send_all(person: Person, stage: Stage, orders: list[bytes]) -> list[LogEntry]:
        entries, heads = [], dict[bytes, KeptHead]()
        with person.opened() as home, conversing.conversation(home, stage) as talk:
            view = conversing.view_in(home, talk)
            for start in range(0, len(orders), PIPELINE):
                for answer in talk.ask(*map(submit, orders[start : start + PIPELINE])):
                    assert isinstance(answer, NumberedReceipt), answer
                    entries.append(proven(view, heads, answer))
        return entries

    def hundred(person: Person) -> list[LogEntry]:
        plain = orders_of(person, Stage.SESSION, TRANSFERS - SIGNED)
        signed = orders_of(person, Stage.CERTIFIED, SIGNED)
        return send_all(person, Stage.SESSION, plain) + send_all(person, Stage.CERTIFIED, signed)

    ledger = at_once(hundred, people)
    assert len(ledger.entries) == len(TEN) * TRANSFERS
    posted = [entry for entry in ledger.entries if entry.reason is None]
    assert len(posted) > len(ledger.entries) / 3, f"seed {seed}"
    assert bank_balances(big_stand) == ledger.balances(), f"seed {seed}"
    assert min(bank_balances(big_stand).values()) >= 0
    theirs = [each for each in big_stand.entries() if each.debtor in TEN.values()]
    assert sorted(theirs, key=repr) == sorted(ledger.entries, key=repr)
    big_stand.require_order()


@pytest.mark.parametrize("run", range(SEEDS))
def test_trial_18_killed_in_the_middle_every_receipted_transfer_is_there_and_none_twice(
    big_stand: Stand, run: int
) -> None:
    seed = random.randrange(10**6) * SEEDS + run
    draw = random.Random(seed)
    people = [big_stand.person(name) for name in TEN]
    strike_after = draw.randrange(3, len(TEN) * SENDS - 5)
    settled = threading.Semaphore(0)
    unsure, unsent = set[tuple[str, str]](), set[tuple[str, str]]()

    def several(person: Person) -> list[LogEntry]:
        entries = []
        others = [each for each in TEN.values() if each != person.number]
        with person.opened() as home:
            for number in range(SENDS):
                name = f"sent-{number}"
                wish = Wish(others[number], f"{number + 1}.00", "", "EUR", identifier=name)
                try:
                    outcome = sending.send(home, wish)
                except OutcomeUnknown:
                    unsure.add((person.number, name))
                except (NotSent, RefusedByBank):
                    unsent.add((person.number, name))
                else:
                    assert outcome.entry
                    entries.append(single(outcome.entry))
                settled.release()
        return entries

    def resumed(person: Person) -> list[LogEntry]:
        with person.opened() as home:
            found = [sending.send_again(home, order).entry for order in home.store.in_doubt()]
            assert not home.store.in_doubt()
        return [single(entry) for entry in found if entry]

    def strike() -> None:
        for _ in range(strike_after):
            settled.acquire()
        big_stand.kill()

    striking = threading.Thread(target=strike)
    striking.start()
    before = at_once(several, people)
    striking.join()
    said = (
        f"seed {seed}, struck after {strike_after}: {len(before.entries)} sent, {len(unsure)} unsure, {len(unsent)} not"
    )
    assert len(before.entries) >= strike_after - len(unsure) - len(unsent), said
    assert unsure | unsent, said
    big_stand.start()
    after = Ledger(before.entries + at_once(resumed, people).entries)
    in_ledger = [(each.debtor, each.transfer_identifier) for each in big_stand.entries() if each.debtor in TEN.values()]
    assert len(in_ledger) == len(set(in_ledger)), said
    assert set(in_ledger) == {(each.debtor, each.transfer_identifier) for each in after.entries}, said
    assert set(in_ledger).isdisjoint(unsent), said
    assert set(in_ledger) >= unsure, said
    assert bank_balances(big_stand) == after.balances(), said
    big_stand.require_order()
