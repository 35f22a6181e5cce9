"""The first ledger: accounts, customers and keys; entries, bookings and heads, which are only ever added to."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

PLACE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Tables, constraints, and the triggers that forbid changes."""
    _accounts()
    _customers()
    _log()
    for table in ("entry", "booking", "head"):
        _forbid_changes(table)


def _accounts() -> None:
    op.create_table(
        "ledger",
        sa.Column("one", sa.Integer, autoincrement=False),
        sa.Column("bank", sa.String(40), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("log", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("one", name="ledger_pkey"),
        sa.CheckConstraint("one = 1", name=op.f("ledger_one_row")),
    )
    op.create_table(
        "account",
        sa.Column("number", sa.String(16)),
        sa.Column("name", sa.String(70), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("balance_minor", sa.BigInteger, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="account_pkey"),
        sa.CheckConstraint("kind IN ('bank', 'customer')", name=op.f("account_kind_known")),
        sa.CheckConstraint("status IN ('open', 'blocked', 'closed')", name=op.f("account_status_known")),
        sa.CheckConstraint("kind = 'bank' OR balance_minor >= 0", name=op.f("account_never_below_zero")),
    )


def _customers() -> None:
    op.create_table(
        "customer",
        sa.Column("number", sa.String(16), sa.ForeignKey("account.number", name="customer_number_fkey")),
        sa.Column("floor", sa.String(16), nullable=False),
        sa.Column("password_sealed", sa.LargeBinary, nullable=False),
        sa.Column("registered_fingerprint", sa.String(40)),
        sa.Column("registered_key", sa.LargeBinary),
        sa.PrimaryKeyConstraint("number", name="customer_pkey"),
        sa.CheckConstraint(
            "(registered_fingerprint IS NULL) = (registered_key IS NULL)", name=op.f("customer_key_whole")
        ),
    )
    op.create_table(
        "key",
        sa.Column("digest", sa.String(64)),
        sa.Column("customer", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(40), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("certified", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("digest", name="key_pkey"),
        sa.ForeignKeyConstraint(["customer"], ["customer.number"], name="key_customer_fkey"),
    )


def _log() -> None:
    op.create_table(
        "entry",
        sa.Column("leaf", PLACE, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.Column("booked_at", sa.BigInteger, nullable=False),
        sa.Column("booking_count", sa.BigInteger, nullable=False),
        sa.Column("identity", sa.String(70), nullable=False),
        sa.Column("order_digest", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("key_digest", sa.String(64), sa.ForeignKey("key.digest", name="entry_key_digest_fkey")),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("message", sa.LargeBinary),
        sa.PrimaryKeyConstraint("leaf", name="entry_pkey"),
        sa.UniqueConstraint("identity", name="entry_identity_key"),
        sa.CheckConstraint("leaf >= 0", name=op.f("entry_leaf_counts")),
    )
    op.create_table(
        "booking",
        sa.Column("account", sa.String(16), sa.ForeignKey("account.number", name="booking_account_fkey")),
        sa.Column("number", sa.BigInteger, autoincrement=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("balance_after_minor", sa.BigInteger, nullable=False),
        sa.Column("leaf", sa.BigInteger, sa.ForeignKey("entry.leaf", name="booking_leaf_fkey"), nullable=False),
        sa.PrimaryKeyConstraint("account", "number", name="booking_pkey"),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("booking_amount_counts")),
        sqlite_with_rowid=False,
    )
    op.create_index("booking_leaf", "booking", ["leaf"])
    op.create_table(
        "head",
        sa.Column("size", PLACE, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("size", name="head_pkey"),
    )


def _forbid_changes(table: str) -> None:
    """A second line of defence: a slip of the program cannot rewrite history. Each engine has its own words for it."""
    if op.get_context().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed or deleted'); END"
            )
