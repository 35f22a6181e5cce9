"""A ledger is copied row by row from one engine to another, all of it as it was at one moment."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, func, insert, select
from sqlalchemy.dialects import sqlite

from bank import migrations, schema
from bank.sqlite import file_engine

ROWS: Final = 2000
"""Rows that are read and written at once, which is how often the progress is told."""


_POSITIONAL: Final = sqlite.dialect(paramstyle="qmark")


def copy_into_file(source: Connection, path: Path, progress: Callable[[int, int], None]) -> None:
    """All rows that a transaction sees, into the empty file ``path``, which becomes a ledger in SQLite.

    ``progress`` gets rows done and in all. The file is not durable yet.
    """
    engine = file_engine(path, writes=True)
    try:
        with engine.begin() as made:
            migrations.upgrade(made)
    finally:
        engine.dispose()
    counts = {table: source.execute(select(func.count()).select_from(table)).scalar_one() for table in _tables()}
    done, total = 0, sum(counts.values())
    progress(done, total)
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA foreign_keys = ON")
        copy.execute("BEGIN IMMEDIATE")
        for table in _tables():
            statement = str(insert(table).compile(dialect=_POSITIONAL))
            rows = source.execution_options(yield_per=ROWS).execute(select(table).order_by(*table.primary_key))
            for part in rows.partitions():
                copy.executemany(statement, [tuple(row) for row in part])
                done += len(part)
                progress(done, total)
        copy.execute("COMMIT")
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _tables() -> tuple[Table, ...]:
    """In the order of their references."""
    return tuple(schema.metadata.sorted_tables)
