"""Time that counts as nobody's idleness, and whether the last companion ended in order, beside when it last lived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.add_column("meta", sa.Column("gaps", sa.Text, nullable=True))
    op.add_column("meta", sa.Column("stopped_at", sa.Double, nullable=True))
