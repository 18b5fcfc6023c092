"""Indexes: live sessions among many final ones, an owner's money, a session's events and births, what is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

_LIVE = sa.text("state NOT IN ('terminated', 'failed')")


def upgrade() -> None:
    op.create_index("sessions_live", "sessions", ["seq"], sqlite_where=_LIVE, postgresql_where=_LIVE)
    op.create_index("sessions_of_owner", "sessions", ["owner", "ended_at"])
    op.create_index("births_of_session", "births", ["session_id"])
    op.create_index("events_of_session", "events", ["session_id", "number"])
    op.create_index("deliveries_due", "deliveries", ["due_at", "event_number"])
