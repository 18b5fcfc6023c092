"""The tables, for every database that can hold a store. `migrations/` makes them; a test compares both.

JSON is kept as text, times as unix seconds, money as a double. `seq` columns give the order of insertion and are never
used twice. Nothing here belongs to one dialect only, and the statements beside it hold for all of them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = ["LIVE", "answers", "api_keys", "births", "deliveries", "events", "meta", "metadata", "sessions"]

metadata = MetaData()

#: SQLite makes only columns of exactly this type its row id.
_Number = BigInteger().with_variant(Integer, "sqlite")

#: A session that is not final, spelled as the partial index spells it, so that the planner takes it.
LIVE = text("state NOT IN ('terminated', 'failed')")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _maybe(name: str) -> Column[str | None]:
    return Column(name, Text, nullable=True)


def _double(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _maybe_double(name: str) -> Column[float | None]:
    return Column(name, Double, nullable=True)


#: One row: whose store it is, where it was confirmed to be, and the number of the newest event.
meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("deployment_id"),
    _text("name"),
    _double("created_at"),
    _maybe_double("alive_at"),
    _maybe_double("confirmed_at"),
    _text("machine"),
    _text("path"),
    _text("inode"),
    _text("restored"),  # why its origin is to be confirmed; empty when nothing says so
    Column("last_event", BigInteger, nullable=False),
    _maybe("gaps"),  # JSON: pairs of unix seconds
    _maybe_double("stopped_at"),  # when it was given back in order; none while a companion has it, and after one died
)

sessions = Table(
    "sessions",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    _text("state"),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    _maybe("owner"),
    _maybe("template"),
    _text("labels"),
    _text("provider"),
    _maybe("account"),
    _maybe("identity"),
    _text("spec"),
    Column("sealed_env", LargeBinary, nullable=True),
    _text("auth"),
    _double("ready_timeout_s"),
    _maybe("birth"),
    _maybe("pod_id"),
    _text("urls"),
    _double("idle_ttl_s"),
    _maybe_double("max_lifetime_s"),
    _double("warn_before_s"),
    _text("on_idle"),
    _double("paused_ttl_s"),
    _maybe_double("budget"),
    _double("created_at"),
    _maybe_double("ready_at"),
    _maybe_double("active_at"),
    _maybe("active_source"),
    Column("touches", BigInteger, nullable=False),
    _maybe_double("keep_until"),
    _maybe_double("expires_at"),
    _maybe_double("paused_at"),
    _maybe_double("ended_at"),
    _maybe("warned"),
    _double("cost_settled"),
    _maybe_double("cost_per_hour"),
    _maybe_double("cost_since"),
    _maybe("outcome"),
    _text("cause"),
    _text("reason"),
    Column("attempts", Integer, nullable=False),
    _maybe_double("next_attempt_at"),
    _maybe("token_hash"),
    _text("touch_hash"),
    _text("guard_hash"),
    Index("sessions_live", "seq", sqlite_where=LIVE, postgresql_where=LIVE),
    Index("sessions_of_owner", "owner", "ended_at"),
    sqlite_autoincrement=True,
)

births = Table(
    "births",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("birth", Text, nullable=False, unique=True),
    _text("session_id"),
    _text("provider"),
    _maybe("account"),
    _maybe("identity"),
    _text("state"),
    _double("written_at"),
    _maybe("pod_id"),
    Index("births_of_session", "session_id"),
    sqlite_autoincrement=True,
)

#: Numbers come from `meta.last_event`: its row is locked until the commit, so they have no holes and follow the commits.
events = Table(
    "events",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    _double("at"),
    _maybe("session_id"),
    _text("kind"),
    _text("actor"),
    _text("cause"),
    _text("data"),
    _maybe("owner"),
    Index("events_of_session", "session_id", "number"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("event_number", BigInteger, primary_key=True, autoincrement=False),
    Column("webhook", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    _double("due_at"),
    _text("last_error"),
    Index("deliveries_due", "due_at", "event_number"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
    _text("scope"),
    _text("name"),
    _double("created_at"),
    _maybe_double("revoked_at"),
    sqlite_autoincrement=True,
)

answers = Table(
    "answers",
    metadata,
    Column("seq", _Number, primary_key=True, autoincrement=True),
    _text("caller"),
    _text("key"),
    _text("body_hash"),
    _text("session_id"),
    _double("at"),
    UniqueConstraint("caller", "key", name="answers_once"),
    sqlite_autoincrement=True,
)
