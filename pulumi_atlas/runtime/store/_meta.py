"""Statements over the row that says whose store it is, and over keys. They hold for every database."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from pulumi_atlas.errors import Conflict
from pulumi_atlas.runtime.store import _rows as rows
from pulumi_atlas.runtime.store._place import Place
from pulumi_atlas.runtime.store._schema import api_keys, meta
from pulumi_atlas.runtime.store.contract import AccessKey, Custody

__all__ = ["add_key", "confirm", "custody_of", "ensure", "keys", "read", "restored_sentence", "revoke_key", "take_name"]


def read(connection: Connection) -> RowMapping | None:
    return connection.execute(select(meta)).mappings().one_or_none()


def ensure(connection: Connection, *, name: str, now: float, place: Place) -> None:
    """Make the row of a new store."""
    if read(connection) is None:
        row = {"id": 1, "deployment_id": secrets.token_hex(8), "name": name, "created_at": now, "restored": ""}
        connection.execute(insert(meta), [row | _recorded(place) | {"last_event": 0}])


def take_name(connection: Connection, name: str) -> None:
    """The first companion gives its name to a store that a tool made."""
    connection.execute(update(meta).where(meta.c.name == "").values(name=name))


def confirm(connection: Connection, *, now: float, place: Place) -> None:
    connection.execute(update(meta).values(restored="", confirmed_at=now, **_recorded(place)))


def custody_of(row: Mapping[Any, Any], place: Place) -> Custody:
    """The custody, with what keeps kills frozen: a mark of a restore, or another place than the one recorded."""
    recorded = Place(row["machine"], row["path"], row["inode"])
    reasons = [reason for reason in (row["restored"], place.differs_from(recorded)) if reason]
    details = {
        "machine": place.machine,
        "path": place.path,
        "inode": place.inode,
        "recorded_machine": recorded.machine,
        "recorded_path": recorded.path,
        "recorded_inode": recorded.inode,
    }
    return Custody(
        deployment_id=row["deployment_id"],
        name=row["name"],
        created_at=row["created_at"],
        alive_at=row["alive_at"],
        frozen="; ".join(reasons),
        details=details,
        gaps=tuple((begin, end) for begin, end in json.loads(row["gaps"] or "[]")),
        stopped=row["stopped_at"] is not None,
    )


def restored_sentence(made_at: float) -> str:
    """The mark of a backup: every copy of it is frozen, whichever way it came back."""
    return f"it comes from a backup of {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(made_at))} UTC"


def add_key(connection: Connection, key: AccessKey) -> None:
    """Raises Conflict when its id or its hash is there already."""
    try:
        connection.execute(insert(api_keys), [{column.name: getattr(key, column.name) for column in rows.KEY}])
    except IntegrityError:
        raise Conflict(f"there is a key {key.id} already") from None


def keys(connection: Connection) -> tuple[AccessKey, ...]:
    statement = select(*rows.KEY).order_by(api_keys.c.created_at, api_keys.c.seq)
    return tuple(rows.key_of(row) for row in connection.execute(statement).all())


def revoke_key(connection: Connection, key_id: str, now: float) -> bool:
    statement = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    return connection.execute(statement).rowcount > 0


def _recorded(place: Place) -> dict[str, str]:
    return {"machine": place.machine, "path": place.path, "inode": place.inode}
