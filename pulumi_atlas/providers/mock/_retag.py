"""Who owns a thing of the mock cloud, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_atlas.errors import Conflict
from pulumi_atlas.ids import Tag
from pulumi_atlas.providers.contract import ThingKind
from pulumi_atlas.providers.mock import _pods
from pulumi_atlas.providers.mock._state import PROVIDER, State, Table

__all__ = ["retag"]

_TABLES: Mapping[ThingKind, Table] = {"pod": "pods", "volume": "volumes", "endpoint": "endpoints"}


def retag(state: State, now: float, kind: ThingKind, ident: str, account: str, tag: Tag) -> None:
    """Give the thing another owner, and a birth if it has none. Raises NotFound, Conflict for another birth."""
    table = _TABLES[kind]
    row = _pods.alive(state, ident, account, now) if kind == "pod" else state.row(table, ident, account)
    if row["birth"] not in (None, tag.birth):
        hint = "it is not the thing that was meant; look again"
        raise Conflict(f"{kind} '{ident}' has another birth", provider=PROVIDER, hint=hint)
    state.put(table, ident, {**row, "birth": tag.birth, "owner": str(tag.owner)})
