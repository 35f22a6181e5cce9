"""Which key a certificate's key succeeds, so that two of one number are told from a second one nobody vouched for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """One column; before there were successions, no key succeeded another."""
    op.add_column("certificate", sa.Column("succeeds", sa.String(40)))
