"""What PostgreSQL needs beside the tables: triggers that forbid changes, and text that is compared byte for byte."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("account", "booking", "certificate", "customer", "entry", "key", "ledger", "refusal")
APPEND_ONLY = ("entry", "booking", "head", "revocation_list", "certificate")


def upgrade() -> None:
    """Nothing where the ledger lies in SQLite: there triggers came with the tables, and text is compared so."""
    if op.get_context().dialect.name != "postgresql":
        return
    _compare_bytes()
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table in APPEND_ONLY:
        for change, level in (("UPDATE", "ROW"), ("DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"FOR EACH {level} EXECUTE FUNCTION refuse_change()"
            )
    op.execute(
        "CREATE FUNCTION refuse_older_list() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.number <= (SELECT max(number) FROM revocation_list) THEN "
        "RAISE EXCEPTION 'an older revocation list never follows a newer one' "
        "USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER revocation_list_no_older BEFORE INSERT ON revocation_list "
        "FOR EACH ROW EXECUTE FUNCTION refuse_older_list()"
    )


def _compare_bytes() -> None:
    """The order of words in a language changes with the platform's libraries, and an index made by another is wrong."""
    inspected = sa.inspect(op.get_bind())
    for table in TABLES:
        columns = [column for column in inspected.get_columns(table) if isinstance(column["type"], sa.String)]
        changes = [f'ALTER COLUMN {each["name"]} TYPE {each["type"]} COLLATE "C"' for each in columns]
        if changes:
            op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
