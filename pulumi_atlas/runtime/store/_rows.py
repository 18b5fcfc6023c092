"""Values to rows and back. A start reads every live session, so sessions are built without a detour."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import repeat
from operator import call
from typing import Any

from sqlalchemy import Table

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.store import _schema as schema
from pulumi_atlas.runtime.store.contract import AccessKey, Answered, BirthNote

__all__ = [
    "ANSWERED",
    "BIRTH",
    "EVENT",
    "KEY",
    "SESSION",
    "answered_of",
    "birth_of",
    "event_of",
    "event_row",
    "key_of",
    "session_of",
    "session_row",
]

_JSON = frozenset({"labels", "spec", "urls"})
_NAMES = tuple(one.name for one in fields(Session))
#: A frozen slot is filled through its descriptor: `Session(**row)` takes twice as long.
_FILL = tuple(getattr(Session, name).__set__ for name in _NAMES)
_FILL_JSON = tuple((place, getattr(Session, name).__set__) for place, name in enumerate(_NAMES) if name in _JSON)
#: What is read here was written here: there is no space around it.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def _columns(table: Table, kind: Any) -> tuple[Any, ...]:
    return tuple(table.c[one.name] for one in fields(kind))


#: What to select, in the order of the fields of the value.
SESSION = _columns(schema.sessions, Session)
BIRTH = _columns(schema.births, BirthNote)
EVENT = _columns(schema.events, SessionEvent)
KEY = _columns(schema.api_keys, AccessKey)
ANSWERED = _columns(schema.answers, Answered)


def session_of(row: Sequence[Any]) -> Session:
    """The inverse of `session_row`, from columns in the order of SESSION. More columns may follow."""
    session = object.__new__(Session)
    deque(map(call, _FILL, repeat(session), row), maxlen=0)
    for place, fill in _FILL_JSON:
        fill(session, _read(row[place]))
    return session


def session_row(changes: Session | Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a whole session, or of some of its fields. Raises ValueError for what is no field."""
    if isinstance(changes, Session):
        changes = {name: getattr(changes, name) for name in _NAMES}
    unknown = sorted(changes.keys() - set(_NAMES))
    if unknown:
        raise ValueError(f"a session has no {', '.join(unknown)}")
    return {name: _written(value) if name in _JSON else value for name, value in changes.items()}


def event_of(row: Sequence[Any]) -> SessionEvent:
    """From columns in the order of EVENT."""
    number, at, session_id, kind, actor, cause, data, owner = row
    return SessionEvent(
        number=number, at=at, session_id=session_id, kind=kind, actor=actor, cause=cause, data=_read(data), owner=owner
    )


def event_row(event: SessionEvent) -> dict[str, Any]:
    """Columns of an event. Raises ValueError or TypeError when its data is no JSON."""
    return {column.name: getattr(event, column.name) for column in EVENT} | {"data": _written(event.data)}


def birth_of(row: Sequence[Any]) -> BirthNote:
    """From columns in the order of BIRTH."""
    return BirthNote(*row)


def key_of(row: Sequence[Any]) -> AccessKey:
    """From columns in the order of KEY."""
    return AccessKey(*row)


def answered_of(row: Sequence[Any]) -> Answered:
    """From columns in the order of ANSWERED."""
    return Answered(*row)


def _read(text: str) -> Any:
    return {} if text == "{}" else _scan(text, 0)[0]


def _written(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False) if value else "{}"
