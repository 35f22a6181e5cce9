"""What stands in a database may be damaged or, at the desk, a stranger's: it is read as what it is, or named as bad."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bank.heads import require_continuation
from ca.messages import State as RequestState
from ca.store import DeskStore
from customer import schema
from customer.ceremony import certified_until
from customer.config import Authority, Bank, Config, Person
from customer.home import CustomerHome, World
from customer.progress import progress
from customer.revocations import own_serial
from customer.store import Fact, State, Store
from protocol.stages import Stage
from tests.fuzz.properties import attempt, parts, text_of
from tests.fuzz.scratch import scratch

A = "A" * 40
COLUMNS = "identifier, stage, state, content, message, receipt, refusal"


def outbox_rows(data: bytes) -> None:
    """A transfer as the customer's database has it, every column of it from elsewhere."""
    identifier, stage, state, content, receipt, refusal = parts(data, 6)
    row = (_text(identifier), _text(stage), _text(state), content, content, receipt or None, refusal or None)
    with _database(schema.TABLES) as database:
        if not _insert(database, f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row):
            return
        store = Store(database, Path("customer.sqlite"))
        found = attempt(store.orders)
        if found:
            assert isinstance(found[0].stage, Stage)
            assert isinstance(found[0].state, State)
            attempt(lambda: found[0].order)
        attempt(store.in_doubt)
        attempt(store.find, _text(identifier))


def kept_values(data: bytes) -> None:
    """Heads, the revocation list and single values that the customer has kept."""
    log, head, serials, stage, value = parts(data, 5)
    with _database(schema.TABLES) as database:
        told = {Fact.LOG: log, Fact.FLOOR: stage, Fact.NEW_LOG: head, Fact.LOST: serials}
        for name, kept in {**dict.fromkeys(Fact, value), **told}.items():
            _insert(database, "INSERT INTO facts (name, value) VALUES (?, ?)", (name.value, kept))
        row = (_text(log), len(head), "0" * 64, b"message", head)
        _insert(database, "INSERT INTO heads (log, size, root, message, head) VALUES (?, ?, ?, ?, ?)", row)
        _insert(database, "INSERT INTO revocations VALUES (?, ?, ?, ?, ?)", (7, 1, 2, _text(serials), b"crl"))
        store = Store(database, Path("customer.sqlite"))
        newest = attempt(store.newest_head)
        assert newest is None or newest.message == b"message"
        attempt(store.heads)
        attempt(store.lost)
        listed = attempt(store.revocations)
        assert listed is None or all(isinstance(each, int) for each in listed.revoked)
        floor = attempt(store.floor)
        assert floor is None or floor in Stage
        attempt(store.raise_floor, Stage.SIGNED)
        assert attempt(store.certificate, _text(value)) is None
        home = CustomerHome(scratch(), _CONFIG, store, World(clock=lambda: 1_800_000_000.0))
        attempt(own_serial, home)
        attempt(certified_until, home)
        attempt(progress, home)


_CONFIG = Config(
    customer=Person(number="1001", name="Alice", currency="EUR", key=A),
    bank=Bank(name="Bank", address="[::1]:1", fingerprint=A),
    authority=Authority(address="[::1]:2", fingerprint=A),
)


def requests_at_the_desk(data: bytes) -> None:
    """Rows of the desk's database, which whoever takes the desk over may write."""
    digest, state, number, message = parts(data, 4)
    row = (_text(digest), A, _text(number), "customer", "Alice", message, 1, _text(state), "::1")
    with _database(DeskStore.SCHEMA) as database:
        database.row_factory = sqlite3.Row
        if not _insert(database, "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row):
            return
        desk = DeskStore(Path("desk.sqlite"), database)
        found = attempt(desk.requests_of, A)
        assert found is None or isinstance(found[0].state, RequestState)
        attempt(desk.requests_like, _text(digest)[:4])
        attempt(desk.requests, RequestState.WAITING)


def newest_head_file(data: bytes) -> None:
    """The bank's newest head outside its ledger, whose signature is good: of this log, or the bank does not go on."""
    ledger = SimpleNamespace(folder=scratch(), bank=A, log="0" * 32, reading=_empty_ledger)
    (scratch() / "newest-head.pgp").write_bytes(data)
    log = SimpleNamespace(root=lambda size: bytes(32))
    for verify in (lambda _message: data, lambda _message: None):
        attempt(require_continuation, cast(Any, ledger), cast(Any, log), None, cast(Callable[[bytes], Any], verify))


def _empty_ledger() -> Any:
    """A reading connection of a ledger without entries."""
    return _Given(SimpleNamespace(execute=lambda _query: _NoRows()))


class _NoRows(tuple[()]):
    def scalar_one(self) -> int:
        return 0


class _Given:
    def __init__(self, value: object) -> None:
        self._value = value

    def __enter__(self) -> object:
        return self._value

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def _database(tables: str) -> Iterator[sqlite3.Connection]:
    """A database in memory, empty again afterwards."""
    database = _made(tables)
    database.execute("BEGIN")
    try:
        yield database
    finally:
        database.execute("ROLLBACK")


@cache
def _made(tables: str) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.executescript(tables)
    return database


def _insert(database: sqlite3.Connection, statement: str, row: tuple[object, ...]) -> bool:
    """Whether the database takes such a row at all."""
    try:
        database.execute(statement, row)
    except (sqlite3.Error, UnicodeEncodeError):
        return False
    return True


def _text(data: bytes) -> str:
    return text_of(data).encode("utf-8", "replace").decode()
