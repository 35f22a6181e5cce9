"""Which payment of a bulk order a leg of a booking is, and what it is for; before, there were single orders only."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Two columns."""
    op.add_column("booking", sa.Column("payment", sa.Integer))
    op.add_column("booking", sa.Column("description", sa.String(140)))
