"""Faults of a PostgreSQL server at a chosen statement of the posting, as the server itself reports them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import event

from bank.postgresql import _Connection
from tests.bank.ledgers import Bank

_REPORTED = "DO $$ BEGIN RAISE EXCEPTION 'a fault that a test has asked for' USING ERRCODE = '{}'; END $$"

FAULTS: Final = {
    "serialization failure": _REPORTED.format("40001"),
    "deadlock": _REPORTED.format("40P01"),
    "connection lost": "SELECT pg_terminate_backend(pg_backend_pid())",
}
"""The statement that brings a fault about."""

NO_ROOM: Final = _REPORTED.format("53100")
"""One that trying again does not help against."""


class Saboteur:
    """Has the server fail at the n-th statement of a transaction that writes, counted from 1; the commit is the last.

    ``times``: in how many transactions, ``when`` asked whether by now.
    """

    def __init__(self, at: int, fault: str, times: int, when: Callable[[], bool]) -> None:
        self.at, self.fault, self.times, self.when = at, fault, times, when
        self.most = self._seen = 0
        self._asking = False

    def begin(self, *_: Any) -> None:
        self._seen = 0

    def step(self, connection: Any, *_: Any) -> None:
        if self._asking:
            return
        self._seen += 1
        self.most = max(self.most, self._seen)
        if self._seen == self.at and self.times and self.when():
            self.times -= 1
            self._asking = True
            try:
                connection.exec_driver_sql(self.fault)
            finally:
                self._asking = False


@contextmanager
def sabotage(
    bank: Bank, at: int, fault: str, times: int = 1, when: Callable[[], bool] = lambda: True
) -> Iterator[Saboteur]:
    """The posting of the bank meets the fault while the block lasts."""
    saboteur = Saboteur(at, FAULTS.get(fault, fault), times, when)
    listeners = (("begin", saboteur.begin), ("before_cursor_execute", saboteur.step), ("commit", saboteur.step))
    engine = bank.ledger._engine.writers
    for name, act in listeners:
        event.listen(engine, name, act)
    try:
        yield saboteur
    finally:
        for name, act in listeners:
            event.remove(engine, name, act)


@contextmanager
def lost_after_commit(times: int = 1) -> Iterator[list[str]]:
    """The connection is lost when the server has committed, before it says so; gives what happened."""
    plain, happened = _Connection.commit, list[str]()

    def commit(self: _Connection) -> None:
        plain(self)
        if len(happened) < times:
            happened.append("lost")
            self.close()
            self.execute("SELECT 1")  # raises as whatever is asked of a connection that is lost

    _Connection.commit = commit  # type: ignore[method-assign]
    try:
        yield happened
    finally:
        _Connection.commit = plain  # type: ignore[method-assign]
