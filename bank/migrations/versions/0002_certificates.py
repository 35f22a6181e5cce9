"""X.509: revocation lists and certificates, which are only ever added to, and under which of them an order came."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

PLACE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Two tables with the triggers that forbid changes, and two columns of the log's entries."""
    op.create_table(
        "revocation_list",
        sa.Column("number", PLACE, autoincrement=False),
        sa.Column("crl", sa.LargeBinary, nullable=False),
        sa.Column("next_update", sa.BigInteger, nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="revocation_list_pkey"),
    )
    op.create_table(
        "certificate",
        sa.Column("digest", sa.String(64)),
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("fingerprint", sa.String(40), nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="certificate_pkey"),
        sa.ForeignKeyConstraint(["number"], ["account.number"], name="certificate_number_fkey"),
    )
    op.create_index("certificate_number", "certificate", ["number"])
    # Said in SQL, because SQLite adds no constraint to a table that exists, but it does with a new column.
    for column, kind, table, key in (
        ("certificate_digest", "VARCHAR(64)", "certificate", "digest"),
        ("revocation_number", "BIGINT", "revocation_list", "number"),
    ):
        op.execute(
            f"ALTER TABLE entry ADD COLUMN {column} {kind} CONSTRAINT entry_{column}_fkey REFERENCES {table} ({key})"
        )
    if op.get_context().dialect.name == "sqlite":
        _forbid_changes()


def _forbid_changes() -> None:
    for table in ("revocation_list", "certificate"):
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed or deleted'); END"
            )
    op.execute(
        "CREATE TRIGGER revocation_list_no_older BEFORE INSERT ON revocation_list "
        "WHEN NEW.number <= (SELECT max(number) FROM revocation_list) "
        "BEGIN SELECT RAISE(ABORT, 'an older revocation list never follows a newer one'); END"
    )
