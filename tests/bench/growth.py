"""What the bank has seen before must not slow it down: customers and history are loaded as rows, by the million.

The rows are as the bank writes them (a log whose hashes are right, both legs of every booking), except that a loaded
entry has no order and no message beside it, which nothing reads again until an audit.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec

from bank.log import Log
from bank.storage import Ledger
from tests.bench.run import Run, middle
from tests.bench.stand import standing
from tests.system.programs import Serving

FEW_CUSTOMERS, MANY_CUSTOMERS = 10, 100_000
FEW_ENTRIES, MANY_ENTRIES, MANY_ENTRIES_QUICK = 1_000, 10_000_000, 300_000
FIRST_LOADED = 50_000_000
LOADED_DEBTORS = 1_000
ORDERS_OF_FEW = 2
"""How many times the usual number of orders those need who have all connections for themselves."""
CHUNK = 20_000
STARTS = 3

Row = tuple[object, ...]


def growth(run: Run) -> dict[str, Any]:
    """Processor time with few and with many customers; rate and start-up with few and with many entries."""
    return {"customers": _customers(run), "entries": _entries(run)}


def _customers(run: Run) -> dict[str, Any]:
    """The same ten connections are at work in both, six orders outstanding on each."""
    orders = run.orders_each * ORDERS_OF_FEW
    run.sign(orders, FEW_CUSTOMERS)
    found: dict[int, list[float]] = {FEW_CUSTOMERS: [], MANY_CUSTOMERS: []}
    for count in (FEW_CUSTOMERS, MANY_CUSTOMERS, FEW_CUSTOMERS):
        run.say(f"a bank with {count:,} customers")
        load = partial(load_customers, count=count - FEW_CUSTOMERS) if count > FEW_CUSTOMERS else None
        with standing(run.town, *run.serving, prepare=load) as stand:
            one = run.closed_at(stand, 6, 4.0, connections=FEW_CUSTOMERS, orders_each=orders)
        found[count].append(round(sum(value for name, value in one.processor_ms.items() if name != "load"), 3))
    few, many = (mean(each) for each in found.values())
    return {"processor_ms": {str(count): each for count, each in found.items()}, "ratio": round(many / few, 3)}


def _entries(run: Run) -> dict[str, Any]:
    """The small ledger before and after the large one, whose making takes minutes in which the machine may change."""
    much = MANY_ENTRIES_QUICK if run.quick else MANY_ENTRIES
    found: dict[int, list[dict[str, Any]]] = {FEW_ENTRIES: [], much: []}
    for count in (FEW_ENTRIES, much, FEW_ENTRIES):
        run.say(f"a bank with {count:,} entries in its log")
        found[count].append(_with_entries(run, count))
    small, large = found.values()
    return {
        **{str(count): each for count, each in found.items()},
        "rate_ratio": round(large[0]["per_second"] / mean(each["per_second"] for each in small), 3),
        "start_ratio": round(large[0]["start_seconds"] / mean(each["start_seconds"] for each in small), 3),
    }


def _with_entries(run: Run, count: int) -> dict[str, Any]:
    starts: list[float] = []

    def load(home: Path) -> None:
        load_entries(home, count, run.say)
        starts.extend(_start_seconds(home) for _ in range(run.rounds(STARTS) + 1))

    with standing(run.town, *run.serving, prepare=load) as stand:
        gigabytes = sum(file.stat().st_size for file in stand.folder.glob("ledger.sqlite*")) / 1e9
        one = run.closed_at(stand, 8, 6.0)
    # The first start after loading finds the newest head to be signed, once.
    start_seconds = middle(starts[1:])
    run.say(f"  {gigabytes:.1f} GB; it starts in {start_seconds:.2f} s")
    return {
        "per_second": one.per_second,
        "start_seconds": round(start_seconds, 2),
        "gigabytes": round(gigabytes, 2),
        "run": msgspec.to_builtins(one),
    }


def _start_seconds(home: Path) -> float:
    """From the command to the line that says that the bank serves."""
    begun = time.perf_counter()
    serving = Serving("bank", "--home", home, "--listen", "127.0.0.1:0", log=home.parent / "start.log")
    spent = time.perf_counter() - begun
    if serving.terminate() != 0:
        raise ValueError(serving.log.read_text()[-1000:])
    return spent


def load_customers(home: Path, count: int) -> None:
    """So many further accounts and customers without keys."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as database, database:
        numbers = range(FIRST_LOADED, FIRST_LOADED + count)
        account = "INSERT INTO account VALUES (?, 'Loaded', 'customer', 'open', 0, 0)"
        database.executemany(account, ((str(number),) for number in numbers))
        customer = "INSERT INTO customer (number, floor, password_sealed) VALUES (?, 'certified', x'00')"
        database.executemany(customer, ((str(number),) for number in numbers))


def load_entries(home: Path, count: int, say: Callable[[str], None]) -> None:
    """So many further entries, each of which moved a cent from one loaded customer to the next."""
    load_customers(home, LOADED_DEBTORS + 1)
    path = home / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        database = sqlite3.connect(path, isolation_level=None)
        size, booked_at, bookings = database.execute(
            "SELECT leaf + 1, booked_at, booking_count FROM entry ORDER BY leaf DESC LIMIT 1"
        ).fetchone()
        log = Log(ledger)
        tree = {level: log.node(level, (size >> level) - 1) for level in range(size.bit_length()) if size >> level & 1}
    with closing(database):
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144", "locking_mode = EXCLUSIVE"):
            database.execute(f"PRAGMA {pragma}").close()
        database.execute("BEGIN")
        rows = _rows(size, bookings, booked_at, count, tree)
        done = 0
        while chunk := list(islice(rows, CHUNK)):
            database.executemany(_ENTRY, [entry for entry, _, _ in chunk])
            database.executemany(_BOOKING, [debit for _, debit, _ in chunk])
            database.executemany(_BOOKING, [credit for _, _, credit in chunk])
            done += len(chunk)
            if done % 2_000_000 == 0:
                say(f"  {done:,} entries are loaded")
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL").close()
    os.sync()


_ENTRY = """INSERT INTO entry
    (leaf, hashes, booked_at, booking_count, identity, order_digest, stage, entry, content)
    VALUES (?, ?, ?, ?, ?, ?, 'certified', ?, x'7b7d')"""
_BOOKING = """INSERT INTO booking (account, number, amount_minor, balance_after_minor, leaf) VALUES (?, ?, ?, ?, ?)"""
_TEXT = (
    '{{"amount":"0.01","booked":"2026-01-01T00:00:00Z","creditor":"{creditor}","currency":"EUR","debtor":"{debtor}",'
    '"field":null,"order":"{digest}","reason":null,"reference":"{reference}","salt":"{salt}","stage":"certified",'
    '"status":"ACSC","transfer_identifier":"{identifier}","type":"log-entry","version":1}}'
)


def _rows(
    size: int, bookings: int, booked_at: int, count: int, tree: dict[int, bytes]
) -> Iterator[tuple[Row, Row, Row]]:
    """Rows of the entry and of both legs, in the order of every index; ``tree``: full subtrees on the right edge."""
    sha256, each = hashlib.sha256, -(-count // LOADED_DEBTORS)
    for place in range(count):
        leaf, reference = size + place, bookings + place + 1
        number = FIRST_LOADED + place // each
        debtor, creditor, identifier = str(number), str(number + 1), f"{place:032d}"
        salt = f"{place:032x}"
        data = _TEXT.format(
            creditor=creditor, debtor=debtor, digest=salt + salt, reference=reference, salt=salt, identifier=identifier
        ).encode()
        current = sha256(b"\x00" + data).digest()
        hashes, level = current, 0
        while leaf >> level & 1:
            current = sha256(b"\x01" + tree[level] + current).digest()
            hashes += current
            level += 1
        tree[level] = current
        yield (
            (leaf, hashes, booked_at, reference, f"{debtor}/{identifier}", salt + salt, data),
            (debtor, reference, -1, 0, leaf),
            (creditor, reference, 1, 0, leaf),
        )
