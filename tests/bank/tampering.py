"""Rows are changed as somebody can who has the database itself: past triggers and foreign keys."""

import re

from sqlalchemy import Connection, text

from tests.bank.ledgers import Bank


def tamper(bank: Bank, *statements: str) -> None:
    """Runs statements, written as SQLite has them, in the ledger of a bank."""
    if bank.url:
        with bank.ledger.writing() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for statement in statements:
                connection.exec_driver_sql(in_postgresql(statement))
        return
    with bank.ledger._engine.writers.connect() as connection:
        connection.connection.execute("PRAGMA foreign_keys = OFF")  # they are a matter of the connection
    with bank.ledger.writing() as connection:
        _past_triggers(connection, statements)


def in_postgresql(statement: str) -> str:
    """The same statement in PostgreSQL's words for bytes."""
    statement = re.sub(r"X'([0-9A-Fa-f]*)'", r"'\\x\1'::bytea", statement)
    return re.sub(
        r"CAST\(replace\((\w+), (.*?)\) AS BLOB\)",
        r"convert_to(replace(convert_from(\1, 'UTF8'), \2), 'UTF8')",
        statement,
    )


def _past_triggers(connection: Connection, statements: tuple[str, ...]) -> None:
    triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.exec_driver_sql(statement)
    for _, sql in triggers:
        connection.exec_driver_sql(sql)
