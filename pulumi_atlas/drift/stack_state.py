"""What the engine's state says of our things: the typed view on `pulumi stack export`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.client.intents import KindName
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.ids import Birth, Owner

__all__ = ["Foreign", "Held", "Pending", "StackState", "parse"]

_DYNAMIC = "pulumi-python:dynamic/"
_STACK_TYPE = _DYNAMIC + "atlas:Stack"
_ROOT_TYPE = "pulumi:pulumi:Stack"
_KINDS: Mapping[str, KindName] = {"Pod": "pod", "Volume": "volume", "Endpoint": "endpoint"}


@dataclass(frozen=True)
class Held:
    """One of our things as the state holds it.

    `doomed`: it was replaced, and the engine has yet to delete it; `external`: it is only read (`Pod.get`), not managed;
    `digest`: another one after each change of the row.
    """

    urn: str
    type: str
    id: str
    name: str
    birth: Birth | None
    owner: Owner | None
    provider: str | None
    account: str | None
    doomed: bool = False
    external: bool = False
    digest: str = ""

    @property
    def kind(self) -> KindName | None:
        """Which kind of thing; None for a subclass of the user's under another type name."""
        return _KINDS.get(self.type.rpartition(":")[2])


@dataclass(frozen=True)
class Pending:
    """An operation that the engine began and did not see end. `operation`: creating, updating, deleting, reading …"""

    operation: str
    thing: Held

    def as_json(self) -> dict[str, Any]:
        thing = self.thing
        return {
            "operation": self.operation,
            "urn": thing.urn,
            "name": thing.name,
            "kind": thing.kind,
            "birth": thing.birth,
            "owner": str(thing.owner) if thing.owner else None,
            "provider": thing.provider,
            "account": thing.account,
        }


@dataclass(frozen=True)
class Foreign:
    """As `Pending`, for a resource that is none of ours: nothing can be known of it here."""

    operation: str
    urn: str

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True)
class StackState:
    """Our things in one stack. `stack_id` is ours (`atlas:Stack`), `root_urn` the engine's own root resource; `home`: where the
    state was made, as far as it says."""

    stack_id: str | None
    root_urn: str | None
    things: tuple[Held, ...] = ()
    pending: tuple[Pending, ...] = ()
    pending_others: tuple[Foreign, ...] = ()
    home: str | None = None

    def holds(self, birth: str, thing_id: str | None = None) -> bool:
        """Whether a resource holds this birth, or, told otherwise, this very id."""
        return any(thing.birth == birth or (thing_id and thing.id == thing_id) for thing in self.things)

    @property
    def stack_ids(self) -> frozenset[str]:
        """Every stack id that the state shows: its own, and those in owners, of pending operations too."""
        owners = [thing.owner for thing in (*self.things, *(one.thing for one in self.pending))]
        found = {owner.id for owner in owners if owner is not None and owner.kind == "stack"}
        return frozenset(found | ({self.stack_id} if self.stack_id else set()))

    @property
    def creations(self) -> tuple[Pending, ...]:
        """Pending creations of ours."""
        return tuple(one for one in self.pending if one.operation == "creating")

    @property
    def other_creations(self) -> tuple[Foreign, ...]:
        """Pending creations of what is none of ours."""
        return tuple(one for one in self.pending_others if one.operation == "creating")


def parse(export: Mapping[str, Any]) -> StackState:
    """The view on an export. Raises ProviderFailure when it is none."""
    deployment = export.get("deployment")
    if not isinstance(deployment, Mapping):
        raise ProviderFailure("`pulumi stack export` gave no deployment", operation="stack export")
    resources = [row for row in deployment.get("resources") or () if isinstance(row, Mapping)]
    operations = [row for row in deployment.get("pending_operations") or () if isinstance(row, Mapping)]
    pending = [(str(row.get("type")), row.get("resource") or {}) for row in operations]
    ours = tuple(Pending(kind, _held(row)) for kind, row in pending if _is_ours(row))
    return StackState(
        stack_id=next((str(row["id"]) for row in resources if row.get("type") == _STACK_TYPE and row.get("id")), None),
        root_urn=next((str(row["urn"]) for row in resources if row.get("type") == _ROOT_TYPE), None),
        things=tuple(_held(row) for row in resources if _is_ours(row)),
        pending=ours,
        pending_others=tuple(Foreign(kind, str(row.get("urn", ""))) for kind, row in pending if not _is_ours(row)),
        home=next(
            (_text({"outputs": row.get("outputs")}, "home") for row in resources if row.get("type") == _STACK_TYPE),
            None,
        ),
    )


def _is_ours(row: Mapping[str, Any]) -> bool:
    """By type, or by a birth: a user's subclass has a type of its own. The stack's own small resource stands for nothing."""
    kind = str(row.get("type", ""))
    if not kind.startswith(_DYNAMIC) or kind == _STACK_TYPE:
        return False
    return kind.startswith(_DYNAMIC + "atlas:") or _text(row, "birth") is not None


def _held(row: Mapping[str, Any]) -> Held:
    birth, owner = _text(row, "birth"), _text(row, "owner")
    urn = str(row.get("urn", ""))
    return Held(
        urn=urn,
        type=str(row.get("type", "")),
        id=str(row.get("id", "")),
        name=urn.rpartition("::")[2],
        birth=Birth(birth) if birth else None,
        owner=_owner(owner),
        provider=_text(row, "provider"),
        account=_text(row, "account"),
        doomed=bool(row.get("delete")),
        external=bool(row.get("external")),
        digest=_digest(row),
    )


def _digest(row: Mapping[str, Any]) -> str:
    values = [row.get("id"), row.get("inputs"), row.get("outputs")]
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _text(row: Mapping[str, Any], name: str) -> str | None:
    """A property as the outputs say it, else the inputs."""
    for side in ("outputs", "inputs"):
        value = (row.get(side) or {}).get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _owner(text: str | None) -> Owner | None:
    try:
        return Owner.parse(text) if text else None
    except ValueError:
        return None
