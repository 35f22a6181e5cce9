"""What the processes of one server must know of each other: messages taken once, and refusals of the last minute."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

PLACE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Two tables whose rows are forgotten after minutes."""
    op.create_table(
        "nonce",
        sa.Column("nonce", sa.LargeBinary),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("nonce", name="nonce_pkey"),
    )
    op.create_index("nonce_taken_at", "nonce", ["taken_at"])
    op.create_table(
        "refusal",
        sa.Column("leaf", PLACE, autoincrement=False),
        sa.Column("customer", sa.String(16), nullable=False),
        sa.Column("refused_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("leaf", name="refusal_pkey"),
    )
    op.create_index("refusal_customer_refused_at", "refusal", ["customer", "refused_at"])
    op.create_index("refusal_refused_at", "refusal", ["refused_at"])
