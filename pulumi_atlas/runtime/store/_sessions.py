"""Statements over sessions, their births and answers. They hold for every database; each runs in a transaction."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pulumi_atlas.errors import Conflict, Failure, InvalidSpec
from pulumi_atlas.models.session import FINAL_STATES, Session
from pulumi_atlas.rules.sessions.gaps import Gap
from pulumi_atlas.runtime.store import _rows as rows
from pulumi_atlas.runtime.store._schema import LIVE, answers, births, meta, sessions
from pulumi_atlas.runtime.store.contract import Answered, BirthNote, BirthState, SessionPage, Stale, TouchRow

__all__ = [
    "add",
    "answered",
    "births_in",
    "change",
    "flush",
    "get",
    "live_after",
    "note_birth",
    "page",
    "spent",
]


# Statements are built once: building one takes longer than SQLite takes to run it. Fields to set come with the values.
_GET = select(*rows.SESSION).where(sessions.c.id == bindparam("of"))
_CHANGE = (
    update(sessions)
    .where(sessions.c.id == bindparam("of"), sessions.c.version == bindparam("at_version"))
    .returning(*rows.SESSION)
)
_ADD, _ANSWER, _BIRTH = insert(sessions), insert(answers), insert(births)
_REPLACE_BIRTH = update(births).where(births.c.birth == bindparam("of"))


def add(connection: Connection, session: Session, answer: Answered | None) -> None:
    """Raises Conflict when the session's id or the answer's key is there already."""
    try:
        connection.execute(_ADD, rows.session_row(session))
    except IntegrityError:
        raise Conflict(f"there is a session {session.id} already") from None
    if answer is None:
        return
    values = {column.name: getattr(answer, column.name) for column in rows.ANSWERED}
    try:
        connection.execute(_ANSWER, values)
    except IntegrityError:
        raise Conflict("something was answered under this idempotency key already") from None


def change(connection: Connection, session_id: str, version: int, changes: Mapping[str, Any]) -> Session:
    """Raises Stale, and ValueError for fields that are none or may not be changed."""
    forbidden = {"id", "version"} & changes.keys()
    if forbidden:
        raise ValueError(f"a change may not name {', '.join(sorted(forbidden))}")
    values = {"version": version + 1, **rows.session_row(changes), "of": session_id, "at_version": version}
    row = connection.execute(_CHANGE, values).one_or_none()
    if row is None:
        raise Stale(get(connection, session_id))
    return rows.session_of(row)


def get(connection: Connection, session_id: str) -> Session | None:
    row = connection.execute(_GET, {"of": session_id}).one_or_none()
    return None if row is None else rows.session_of(row)


def live_after(connection: Connection, seq: int, limit: int) -> tuple[int, list[Session]]:
    """The next sessions that are not final, and where the following begin."""
    statement = (
        select(*rows.SESSION, sessions.c.seq)
        .where(LIVE, sessions.c.seq > seq)
        .order_by(sessions.c.seq)
        .limit(limit)
    )  # fmt: skip
    found = connection.execute(statement).all()
    return (found[-1][-1] if found else seq), [rows.session_of(row) for row in found]


def page(
    connection: Connection,
    *,
    owner: str | None,
    states: Collection[str] | None,
    template: str | None,
    cursor: str | None,
    limit: int,
    salt: str,
) -> SessionPage:
    """Raises InvalidSpec for a cursor that was not made with this `salt`."""
    statement = select(*rows.SESSION, sessions.c.seq).order_by(sessions.c.seq).limit(limit + 1)
    if owner is not None:
        statement = statement.where(sessions.c.owner == owner)
    if states is not None:
        statement = statement.where(sessions.c.state.in_(sorted(states)))
    if template is not None:
        statement = statement.where(sessions.c.template == template)
    if cursor is not None:
        statement = statement.where(sessions.c.seq > _position(cursor, salt))
    found = connection.execute(statement).all()
    shown = found[:limit]
    after = _cursor(shown[-1][-1], salt) if len(found) > limit else None
    return SessionPage(tuple(rows.session_of(row) for row in shown), after)


def spent(connection: Connection, owner: str, since: float) -> float:
    statement = select(func.coalesce(func.sum(sessions.c.cost_settled), 0.0)).where(
        sessions.c.owner == owner, sessions.c.state.in_(sorted(FINAL_STATES)), sessions.c.ended_at > since
    )
    return float(connection.execute(statement).scalar_one())


def _most(column: Any, value: Any) -> Any:
    return case((column.is_(None), value), (column < value, value), else_=column)


#: So many touches are not counted any further, or the sum would be no whole number any more.
_MANY = 2**61
_AT, _KEEP = bindparam("at", type_=sessions.c.active_at.type), bindparam("keep", type_=sessions.c.keep_until.type)
_TOUCH = (
    update(sessions)
    .where(sessions.c.id == bindparam("session"))
    .values(
        active_at=_most(sessions.c.active_at, _AT),
        active_source=case(
            (sessions.c.active_at.is_(None), bindparam("source")),
            (sessions.c.active_at <= _AT, bindparam("source")),
            else_=sessions.c.active_source,
        ),
        keep_until=case((_KEEP.is_(None), sessions.c.keep_until), else_=_most(sessions.c.keep_until, _KEEP)),
        touches=case((sessions.c.touches >= _MANY, sessions.c.touches), else_=sessions.c.touches + bindparam("count")),
    )
)


def flush(
    connection: Connection, touches: Sequence[TouchRow], now: float, gaps: Sequence[Gap] | None, stopping: bool
) -> None:
    """Activity by maximum, counts added; `alive_at` and `stopped_at` noted, and `gaps` unless None."""
    if touches:
        connection.execute(
            _TOUCH,
            [
                {
                    "session": one.session_id,
                    "at": one.active_at,
                    "source": one.source,
                    "keep": one.keep_until,
                    "count": one.touches,
                }
                for one in touches
            ],
        )
    noted: dict[str, Any] = {"alive_at": now, "stopped_at": now if stopping else None}
    if gaps is not None:
        noted["gaps"] = json.dumps(list(gaps))
    connection.execute(update(meta).values(noted))


def births_in(connection: Connection, states: Collection[BirthState] | None) -> list[BirthNote]:
    statement = select(*rows.BIRTH).order_by(births.c.written_at, births.c.seq)
    if states is not None:
        statement = statement.where(births.c.state.in_(sorted(states)))
    return [rows.birth_of(row) for row in connection.execute(statement).all()]


def note_birth(connection: Connection, note: BirthNote) -> None:
    values = {column.name: getattr(note, column.name) for column in rows.BIRTH}
    if not connection.execute(_REPLACE_BIRTH, {**values, "of": note.birth}).rowcount:
        connection.execute(_BIRTH, values)


def answered(connection: Connection, caller: str, key: str) -> Answered | None:
    statement = select(*rows.ANSWERED).where(answers.c.caller == caller, answers.c.key == key)
    row = connection.execute(statement).one_or_none()
    return None if row is None else rows.answered_of(row)


def _cursor(seq: int, salt: str) -> str:
    return f"{seq:x}-{zlib.crc32(f'{salt}:{seq}'.encode()):08x}"


def _position(cursor: str, salt: str) -> int:
    try:
        seq = int(cursor.partition("-")[0], 16)
    except ValueError:
        seq = -1
    if seq < 0 or cursor != _cursor(seq, salt):
        raise InvalidSpec([Failure("cursor", "this store did not give that cursor", "begin without one")])
    return seq
