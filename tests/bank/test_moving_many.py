"""A ledger of a million transfers moves to PostgreSQL, and what it took is told."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bank import accounts, schema
from bank.batch import Batch, Decided, Submission, load
from bank.home import BankHome
from bank.log import Growth, Log
from bank.moving import move
from bank.places import Database
from bank.posting import _end
from bank.storage import Ledger
from protocol.orders import TransferOrder, encode_order, format_time
from tests.bank.test_backup import Teller
from tests.bank.town import Town, copied_bank

TRANSFERS = int(os.environ.get("COUNTERSIGN_MANY") or 1_000_000)
PAYEES = 200
AT_ONCE = 5_000


def post_many(ledger: Ledger, transfers: int) -> None:
    """Decided and written as the server does it, without its signatures: the next head covers all of them."""
    now, log = int(time.time()), Log(ledger)
    for number in range(PAYEES):
        accounts.open_account(ledger, str(5000 + number), f"Payee {number}", now)
    for first in range(0, transfers, AT_ONCE):
        orders = list(_orders(ledger.bank, now, range(first, min(first + AT_ONCE, transfers))))
        with ledger.writing() as connection:
            size, booked_at, bookings = _end(connection)
            growth, loaded = Growth(log, size), load(connection, orders)
            batch = Batch(connection, growth, (booked_at, bookings), loaded, currency="EUR", now=now, random=os.urandom)
            assert all(isinstance(batch.decide(each), Decided) for each in orders)
            batch.write()
        growth.commit()


def _orders(bank: str, now: int, places: range) -> Iterator[Submission]:
    for place in places:
        order = TransferOrder(
            amount="0.01",
            bank=bank,
            certificate=None,
            created=format_time(now),
            creditor=str(5000 + place % PAYEES),
            currency="EUR",
            debtor=schema.BANK_ACCOUNT,
            description="one of many",
            transfer_identifier=f"many-{place}",
        )
        yield Submission(order, encode_order(order), None, "operator", None, None)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_transfers_are_moved(town: Town, short_tmp: Path, database_url: str) -> None:
    teller = Teller(copied_bank(town, short_tmp))
    with teller.home.open_ledger() as ledger:
        post_many(ledger, TRANSFERS)
    teller.pay_in()
    told: dict[str, tuple[float, int]] = {}
    begun = time.monotonic()
    moved = move(
        teller.home,
        Database(database_url, teller.home.path),
        lambda task, done, _: told.__setitem__(task, (time.monotonic() - begun, done)),
    )
    spent = time.monotonic() - begun
    copied = told["Copying"][0]
    print(f"{moved.entries} entries, {moved.bookings} bookings: copied in {copied:.0f} s, {spent:.0f} s in all")  # noqa: T201
    assert told["Copying"][1] == told["Checking"][1] == moved.entries > TRANSFERS
    teller.home = BankHome.open(teller.home.path)
    again = teller.pay_in()[0]
    assert teller.prove(again).size == moved.entries + 1
    with teller.home.open_ledger() as ledger:
        assert accounts.get(ledger, "5000").balance_minor == -(-TRANSFERS // PAYEES)
    teller.home.gnupg.stop()
