"""Time that counts as nobody's idleness, beside when a companion last lived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.add_column("meta", sa.Column("gaps", sa.Text, nullable=True))
