"""A ledger is copied row by row from one engine to another, all of it as it was at one moment."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Select, Table, func, insert, select
from sqlalchemy.dialects import sqlite

from bank import migrations, schema
from bank.errors import LedgerError
from bank.sqlite import file_engine

if TYPE_CHECKING:
    import psycopg

ROWS: Final = 2000
"""Rows that are read and written at once, which is how often the progress is told."""

Progress = Callable[[int, int], None]

_POSITIONAL: Final = sqlite.dialect(paramstyle="qmark")


def copy_into_file(source: Connection, path: Path, progress: Progress) -> None:
    """All rows that a transaction sees, into the empty file ``path``, which becomes a ledger in SQLite.

    ``progress`` gets rows done and in all. The file is not durable yet.
    """
    engine = file_engine(path, writes=True)
    try:
        with engine.begin() as made:
            migrations.upgrade(made)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA foreign_keys = ON")
        copy.execute("BEGIN IMMEDIATE")
        for table, rows in _all_rows(source, progress):
            statement = str(insert(table).compile(dialect=_POSITIONAL))
            for part in rows:
                copy.executemany(statement, part)
        copy.execute("COMMIT")
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def copy_into_database(source: Connection, target: Connection, progress: Progress) -> None:
    """All rows that a transaction sees, into the empty tables of a ledger in PostgreSQL, in the given transaction."""
    for table, rows in _all_rows(source, progress):
        copy_rows(target, table.name, table, (row for part in rows for row in part))
    target.exec_driver_sql("ANALYZE")


def copy_rows(target: Connection, name: str, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Rows of ``table`` into the table ``name`` of PostgreSQL that has the same columns, by its own COPY."""
    columns = ", ".join(column.name for column in table.columns)
    connection = target.connection.driver_connection
    if connection is None:
        raise LedgerError("The connection to the database is closed.")
    driver: psycopg.Connection[Any] = connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {name} ({columns}) FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def rows_of(source: Connection, query: "Select[Any]") -> Iterator[list[tuple[Any, ...]]]:
    """What a query gives, so many at once."""
    for part in source.execution_options(yield_per=ROWS).execute(query).partitions():
        yield [tuple(row) for row in part]


def _all_rows(source: Connection, progress: Progress) -> Iterator[tuple[Table, Iterator[list[tuple[Any, ...]]]]]:
    """Each table in the order of their references, with its rows in the order of their keys."""
    tables = schema.metadata.sorted_tables
    total = sum(source.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)
    done = 0
    progress(done, total)

    def counted(table: Table) -> Iterator[list[tuple[Any, ...]]]:
        nonlocal done
        for part in rows_of(source, select(table).order_by(*table.primary_key)):
            yield part
            done += len(part)
            progress(done, total)

    for table in tables:
        yield table, counted(table)
