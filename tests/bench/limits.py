"""The limits of what such a server is made of: gpg workers that only verify, and SQLite with a commit a transfer."""

import sqlite3
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from bank.home import BankHome
from keyring.certification import judged_home
from keyring.opened import Opened
from keyring.verdict import SignedByCustomer
from keyring.worker import Worker
from tests.bench.orders import read_orders
from tests.bench.run import Run
from tests.bench.town import BUILD, BenchTown

WORKERS = 2
GROUP = 16
"""Messages that a worker is given at once; one at a time it is slower by a third."""


def workers_per_second(town: BenchTown, seconds: float, group: int = GROUP) -> float:
    """Verifications a second of two long-lived gpg workers, each driven by a process that does nothing else."""
    with ProcessPoolExecutor(WORKERS) as pool:
        running = [pool.submit(_verify, town, place, seconds, group) for place in range(WORKERS)]
        return sum(each.result() for each in running)


def _verify(town: BenchTown, place: int, seconds: float, group: int) -> float:
    party, authority = town.cast.parties[place], BankHome.open(town.bank).authority()
    if authority is None:
        raise ValueError("The bank of the town knows no authority; delete build/bench/town.")
    messages = [each.message for each in read_orders(town.orders, party.number, 256)]
    with tempfile.TemporaryDirectory(prefix="limit-", dir="/tmp") as folder:
        home, _, fingerprint = judged_home(
            Path(folder) / "home",
            ca_key=authority.key,
            ca_fingerprint=authority.fingerprint,
            offered=party.certified_key,
            expected_fingerprint=party.fingerprint,
        )
        expected, done = SignedByCustomer(fingerprint, certified=True), 0
        with Worker(home) as worker:
            worker.open(messages[0], expected)
            begun = time.perf_counter()
            while (spent := time.perf_counter() - begun) < seconds:
                start = done % (len(messages) - group + 1)
                opened = worker.open_all(messages[start : start + group], expected)
                if not all(isinstance(each, Opened) for each in opened):
                    raise ValueError(f"A worker rejects an order: {opened}")
                done += len(opened)
        home.stop()
    return done / spent


def commits_per_second(seconds: float) -> float:
    """Transfers a second that SQLite makes durable one by one: two balances, an entry, its two bookings."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="limit-", dir=BUILD) as folder,
        closing(sqlite3.connect(Path(folder) / "plain.sqlite", isolation_level=None)) as database,
    ):
        database.executescript(
            """PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
            CREATE TABLE account (number INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
            CREATE TABLE entry (leaf INTEGER PRIMARY KEY, content BLOB NOT NULL);
            CREATE TABLE booking (account INTEGER, number INTEGER, amount INTEGER, PRIMARY KEY (account, number));"""
        )
        database.executemany("INSERT INTO account VALUES (?, 0)", ((number,) for number in range(1000)))
        begun = time.perf_counter()
        for done in count():
            if (spent := time.perf_counter() - begun) >= seconds:
                return done / spent
            database.execute("BEGIN IMMEDIATE")
            for account, amount in ((done % 1000, -1), ((done + 7) % 1000, 1)):
                database.execute("UPDATE account SET balance = balance + ? WHERE number = ?", (amount, account))
                database.execute("INSERT INTO booking VALUES (?, ?, ?)", (account, done, amount))
            database.execute("INSERT INTO entry VALUES (?, ?)", (done, bytes(1000)))
            database.execute("COMMIT")
    raise AssertionError


def limits(run: Run) -> dict[str, Any]:
    """Both limits, with ours (eight outstanding) between them."""
    seconds = run.seconds(6.0)
    run.say(f"two gpg workers, {GROUP} messages at once, then one at a time")
    grouped, single = workers_per_second(run.town, seconds), workers_per_second(run.town, seconds, 1)
    run.say(f"  {grouped:.0f} and {single:.0f} verifications a second; now ours beside it")
    ours = run.closed(8, 6.0)
    commits = commits_per_second(run.seconds(4.0))
    run.say(f"SQLite with one commit a transfer: {commits:.0f} a second")
    return {
        "workers_per_second": round(grouped),
        "workers_one_at_a_time_per_second": round(single),
        "commits_per_second": round(commits),
        "ours": ours.per_second,
        "ours_to_workers": round(ours.per_second / grouped, 3),
    }
