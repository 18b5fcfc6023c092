"""The tables of sessions, births, events, deliveries, keys and answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *_texts("deployment_id", "name"),
        sa.Column("created_at", sa.Double, nullable=False),
        *_maybe_doubles("alive_at", "confirmed_at"),
        *_texts("machine", "path", "inode", "restored"),
        sa.Column("last_event", sa.BigInteger, nullable=False),
    )
    _sessions()
    op.create_table(
        "births",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("birth", sa.Text, nullable=False, unique=True),
        *_texts("session_id", "provider"),
        *_maybe_texts("account", "identity"),
        *_texts("state"),
        *_doubles("written_at"),
        *_maybe_texts("pod_id"),
        sqlite_autoincrement=True,
    )
    _events()
    _keys()


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *_texts("state"),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        *_maybe_texts("owner", "template"),
        *_texts("labels", "provider"),
        *_maybe_texts("account", "identity"),
        *_texts("spec"),
        sa.Column("sealed_env", sa.LargeBinary, nullable=True),
        *_texts("auth"),
        *_doubles("ready_timeout_s"),
        *_maybe_texts("birth", "pod_id"),
        *_texts("urls"),
        *_doubles("idle_ttl_s"),
        *_maybe_doubles("max_lifetime_s"),
        *_doubles("warn_before_s"),
        *_texts("on_idle"),
        *_doubles("paused_ttl_s"),
        *_maybe_doubles("budget"),
        *_doubles("created_at"),
        *_maybe_doubles("ready_at", "active_at"),
        *_maybe_texts("active_source"),
        sa.Column("touches", sa.BigInteger, nullable=False),
        *_maybe_doubles("keep_until", "expires_at", "paused_at", "ended_at"),
        *_maybe_texts("warned"),
        *_doubles("cost_settled"),
        *_maybe_doubles("cost_per_hour", "cost_since"),
        *_maybe_texts("outcome"),
        *_texts("cause", "reason"),
        sa.Column("attempts", sa.Integer, nullable=False),
        *_maybe_doubles("next_attempt_at"),
        *_maybe_texts("token_hash"),
        *_texts("touch_hash", "guard_hash"),
        sqlite_autoincrement=True,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        *_doubles("at"),
        *_maybe_texts("session_id"),
        *_texts("kind", "actor", "cause", "data"),
        *_maybe_texts("owner"),
    )
    op.create_table(
        "deliveries",
        sa.Column("event_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("webhook", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        *_doubles("due_at"),
        *_texts("last_error"),
    )


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        *_texts("scope", "name"),
        *_doubles("created_at"),
        *_maybe_doubles("revoked_at"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "answers",
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=True),
        *_texts("caller", "key", "body_hash", "session_id"),
        *_doubles("at"),
        sa.UniqueConstraint("caller", "key", name="answers_once"),
        sqlite_autoincrement=True,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _maybe_texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=True) for name in names]


def _doubles(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def _maybe_doubles(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=True) for name in names]
