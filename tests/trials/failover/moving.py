"""A bank's ledger is moved from its file to a database, row by row."""

from pathlib import Path

import msgspec
from sqlalchemy import insert, select

from bank import config, schema
from bank.places import Database
from bank.storage import Ledger


def move_ledger(home: Path, url: str) -> None:
    """The bank in this folder has its ledger in the empty database from now on."""
    file = home / "ledger.sqlite"
    with Ledger.open(file) as old:
        with Ledger.unfilled(Database(url, home)) as (new, to), old.reading() as source:
            for table in schema.metadata.sorted_tables:
                if rows := [row._asdict() for row in source.execute(select(table))]:
                    to.execute(insert(table), rows)
        new.close()
    config.save(home, msgspec.structs.replace(config.load(home), ledger=url))
    file.unlink()
