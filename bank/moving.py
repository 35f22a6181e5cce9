"""A ledger is moved to PostgreSQL whole, checked there, and only then used; interrupted, it goes on where it stopped.

Until the last step the bank's own ledger stays the file. In that step the file is closed for ever, within the
transaction that has kept all others from writing to it all along, and then bank.toml names the database.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, select

from bank import config as configuration
from bank import schema
from bank.backup import Counts, Progress, count, require_sound, witness
from bank.copying import copy_rows, rows_of
from bank.errors import LedgerError, NoLedger
from bank.home import LEDGER_FILE, BankHome
from bank.log import Log, size_of_log
from bank.places import Database
from bank.storage import Ledger

ENTRIES: Final = 5000
"""Entries that are copied in one transaction, with all their bookings; what was copied is not copied again."""

MOVED: Final = "the ledger was moved to PostgreSQL"

_CHANGED_LATER: Final = (schema.account, schema.customer)
"""Tables whose rows may be changed after they were copied, where the move was interrupted."""

_ADDED_TO: Final = (schema.key, schema.revocation_list, schema.certificate)
_FORGOTTEN: Final = (schema.nonce, schema.refusal)


def move(bank: BankHome, to: Database, progress: Progress) -> Counts:
    """Moves the ledger from its file into an empty database, or goes on with that; gives how much it holds.

    Raises LedgerError if the database holds something else, or not all of it arrived: then the file stays in use.
    """
    if bank.config.ledger:
        raise LedgerError(f"The ledger of this bank lies in {Database(bank.config.ledger, bank.path).shown} already.")
    with bank.alone(), Ledger.open(bank.path / LEDGER_FILE) as old:
        with old.writing() as source, _target(old, to) as new:
            _copy(source, old, new, progress)
            with witness(bank) as verify:
                require_sound(new, verify, progress)
            _require_equal(source, old, new)
            counts = count(new)
            _close(source)
        configuration.set_ledger(bank.path, to.url)
    return counts


def _target(old: Ledger, to: Database) -> Ledger:
    """The ledger in the database: a new one without entries, or one that was begun earlier as a copy of this."""
    try:
        new = Ledger.open(to)
    except NoLedger:
        with Ledger.unfilled(to) as (new, connection):
            row = {"one": 1, "bank": old.bank, "currency": old.currency, "log": old.log}
            connection.execute(insert(schema.ledger), row)
        return new
    with new.reading() as connection:
        size = size_of_log(connection)
    with old.reading() as connection:
        fits = size <= size_of_log(connection)
    same = (new.bank, new.currency, new.log) == (old.bank, old.currency, old.log)
    if not (same and fits) or Log(new).root(size) != Log(old).root(size):
        new.close()
        raise LedgerError(
            f"The database {new} holds another ledger than {old}; nothing was changed. Name an empty database, made "
            "with `createdb`."
        )
    return new


def _copy(source: Connection, old: Ledger, new: Ledger, progress: Progress) -> None:
    entry, booking, head = schema.entry, schema.booking, schema.head
    total = size_of_log(source)
    with new.writing() as target:
        for table in (*_CHANGED_LATER, *_ADDED_TO):
            _merge(source, target, table)
    with new.reading() as connection:
        done = size_of_log(connection)
    progress("Copying", done, total)
    while done < total:
        until = min(done + ENTRIES, total)
        with new.writing() as target:
            for table, place in ((entry, entry.c.leaf), (booking, booking.c.leaf)):
                query = select(table).where(place >= done, place < until).order_by(place)
                copy_rows(target, table.name, table, (row for part in rows_of(source, query) for row in part))
        done = until
        progress("Copying", done, total)
    with new.writing() as target:
        known = target.execute(select(func.coalesce(func.max(head.c.size), -1))).scalar_one()
        heads = select(head).where(head.c.size > known).order_by(head.c.size)
        copy_rows(target, head.name, head, (row for part in rows_of(source, heads) for row in part))
        for table in _FORGOTTEN:
            target.execute(delete(table))
            copy_rows(target, table.name, table, (row for part in rows_of(source, select(table)) for row in part))
        target.exec_driver_sql("ANALYZE")


def _merge(source: Connection, target: Connection, table: Table) -> None:
    """Adds the rows that are missing; where rows may change, those that are there become as they are now."""
    name, arrived = table.name, f"arrived_{table.name}"
    keys = ", ".join(column.name for column in table.primary_key)
    target.exec_driver_sql(f"CREATE TEMPORARY TABLE {arrived} (LIKE {name}) ON COMMIT DROP")
    rows = rows_of(source, select(table).order_by(*table.primary_key))
    copy_rows(target, arrived, table, (row for part in rows for row in part))
    others = [column.name for column in table.columns if not column.primary_key]
    if table in _CHANGED_LATER:
        changes = ", ".join(f"{each} = EXCLUDED.{each}" for each in others)
        target.exec_driver_sql(
            f"INSERT INTO {name} SELECT * FROM {arrived} ON CONFLICT ({keys}) DO UPDATE SET {changes}"  # noqa: S608
        )
    else:
        target.exec_driver_sql(
            f"INSERT INTO {name} SELECT * FROM {arrived} WHERE {keys} NOT IN (SELECT {keys} FROM {name}) "  # noqa: S608
            f"ORDER BY {keys}"
        )


def _require_equal(source: Connection, old: Ledger, new: Ledger) -> None:
    """The same log, the same number of rows in each table, and the same accounts and customers."""
    size = size_of_log(source)
    with new.reading() as target:
        wrong = [
            table.name
            for table in schema.metadata.sorted_tables
            if _count(source, table) != _count(target, table)
            or (table in _CHANGED_LATER and _rows(source, table) != _rows(target, table))
        ]
    if wrong or Log(old).root(size) != Log(new).root(size):
        raise LedgerError(
            f"Not all of the ledger arrived in {new} ({', '.join(wrong) or 'its log differs'}); the bank goes on with "
            f"{old}. Empty the database and try again."
        )


def _close(source: Connection) -> None:
    """From here on the file takes no change, also from a program that has had it open all along."""
    for table in schema.metadata.sorted_tables:
        for change in ("INSERT", "UPDATE", "DELETE"):
            source.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS {table.name}_moved_{change.lower()} BEFORE {change} ON {table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{MOVED}'); END"
            )


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _rows(connection: Connection, table: Table) -> Sequence[Any]:
    return connection.execute(select(table).order_by(*table.primary_key)).all()
