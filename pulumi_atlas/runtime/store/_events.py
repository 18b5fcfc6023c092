"""Statements over events, their deliveries, and what is kept how long. They hold for every database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, func, insert, select, update

from pulumi_atlas.models.session import FINAL_STATES, SessionEvent
from pulumi_atlas.runtime.store import _rows as rows
from pulumi_atlas.runtime.store._schema import answers, births, deliveries, events, meta, sessions
from pulumi_atlas.runtime.store.contract import Delivery

__all__ = [
    "append",
    "delivered",
    "due",
    "event_range",
    "keep_deliveries",
    "newer",
    "next_due",
    "postponed",
    "prune_answers",
    "prune_births",
    "prune_events",
    "prune_sessions",
]


# Built once, as in `_sessions`.
_COUNT = update(meta).values(last_event=meta.c.last_event + bindparam("more")).returning(meta.c.last_event)
_EVENT, _DELIVERY = insert(events), insert(deliveries)


def append(
    connection: Connection, happened: Sequence[SessionEvent], webhooks: Collection[str]
) -> tuple[SessionEvent, ...]:
    """Number and insert events, each with a delivery to each webhook, due at once."""
    if not happened:
        return ()
    last = connection.execute(_COUNT, {"more": len(happened)}).scalar_one()
    first = last - len(happened) + 1
    numbered = tuple(replace(one, number=number) for number, one in enumerate(happened, first))
    connection.execute(_EVENT, [rows.event_row(one) for one in numbered])
    outgoing = [
        {"event_number": one.number, "webhook": name, "attempt": 0, "due_at": one.at, "last_error": ""}
        for one in numbered
        for name in sorted(webhooks)
    ]
    if outgoing:
        connection.execute(_DELIVERY, outgoing)
    return numbered


def newer(connection: Connection, after: int, session_id: str | None, limit: int) -> tuple[SessionEvent, ...]:
    statement = select(*rows.EVENT).where(events.c.number > after).order_by(events.c.number).limit(limit)
    if session_id is not None:
        statement = statement.where(events.c.session_id == session_id)
    return tuple(rows.event_of(row) for row in connection.execute(statement).all())


def event_range(connection: Connection) -> tuple[int, int]:
    oldest = select(func.min(events.c.number)).scalar_subquery()
    kept, last = connection.execute(select(oldest, meta.c.last_event)).one()
    return (last + 1 if kept is None else kept), last


def keep_deliveries(connection: Connection, names: Collection[str]) -> None:
    """Drop deliveries to all others."""
    connection.execute(delete(deliveries).where(deliveries.c.webhook.not_in(sorted(names))))


def due(connection: Connection, now: float, webhook: str | None, limit: int) -> tuple[Delivery, ...]:
    statement = (
        select(*rows.EVENT, deliveries.c.webhook, deliveries.c.attempt, deliveries.c.due_at, deliveries.c.last_error)
        .join_from(deliveries, events, events.c.number == deliveries.c.event_number)
        .where(deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at, deliveries.c.event_number, deliveries.c.webhook)
        .limit(limit)
    )
    if webhook is not None:
        statement = statement.where(deliveries.c.webhook == webhook)
    found = connection.execute(statement).all()
    width = len(rows.EVENT)
    return tuple(Delivery(rows.event_of(row[:width]), *row[width:]) for row in found)


def next_due(connection: Connection, webhook: str | None) -> float | None:
    statement = select(func.min(deliveries.c.due_at))
    if webhook is not None:
        statement = statement.where(deliveries.c.webhook == webhook)
    first: float | None = connection.execute(statement).scalar_one()
    return first


def delivered(connection: Connection, number: int, webhook: str) -> None:
    connection.execute(delete(deliveries).where(_one(number, webhook)))


def postponed(connection: Connection, number: int, webhook: str, due_at: float, error: str) -> None:
    later = {"attempt": deliveries.c.attempt + 1, "due_at": due_at, "last_error": error}
    connection.execute(update(deliveries).where(_one(number, webhook)).values(later))


def prune_events(connection: Connection, before: float, limit: int) -> int:
    """Forget old events from the first on, up to one that is young or not delivered yet: those kept have no holes, so that
    a reader who missed some can tell."""
    young = select(func.min(events.c.number)).where(events.c.at >= before).scalar_subquery()
    waiting = select(func.min(deliveries.c.event_number)).scalar_subquery()
    bounds = connection.execute(select(young, waiting)).one()
    first_kept = min((one for one in bounds if one is not None), default=None)
    going = select(events.c.number).order_by(events.c.number).limit(limit)
    if first_kept is not None:
        going = going.where(events.c.number < first_kept)
    return connection.execute(delete(events).where(events.c.number.in_(going))).rowcount


def prune_sessions(connection: Connection, before: float, limit: int) -> int:
    """Forget final sessions, but none whose pod may still be there by its births."""
    unsettled = select(births.c.seq).where(births.c.session_id == sessions.c.id, births.c.state.in_(["held", "open"]))
    going = and_(
        sessions.c.state.in_(sorted(FINAL_STATES)),
        func.coalesce(sessions.c.ended_at, sessions.c.created_at) < before,
        ~unsettled.exists(),
    )
    return _prune(connection, sessions, going, limit)


def prune_births(connection: Connection, before: float, limit: int) -> int:
    """Forget births of pods that are proven gone, once their session is forgotten too."""
    known = select(sessions.c.seq).where(sessions.c.id == births.c.session_id)
    going = and_(births.c.state == "gone", births.c.written_at < before, ~known.exists())
    return _prune(connection, births, going, limit)


def prune_answers(connection: Connection, before: float, limit: int) -> int:
    return _prune(connection, answers, answers.c.at < before, limit)


def _prune(connection: Connection, table: Table, going: ColumnElement[bool], limit: int) -> int:
    some = select(table.c.seq).where(going).order_by(table.c.seq).limit(limit)
    return connection.execute(delete(table).where(table.c.seq.in_(some))).rowcount


def _one(number: int, webhook: str) -> ColumnElement[bool]:
    return and_(deliveries.c.event_number == number, deliveries.c.webhook == webhook)
