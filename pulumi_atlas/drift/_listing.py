"""What the providers list: everything of every account that a stack has to do with, each list with its honesty."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.kinds import KINDS, Kind
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.providers.contract import ABILITIES

__all__ = ["Inventory", "Place", "Thing", "list_places"]


@dataclass(frozen=True, order=True)
class Place:
    """A provider, and the profile of atlas.yaml by which it is reached."""

    provider: str
    account: str = ""


@dataclass(frozen=True)
class Thing:
    """One thing as a list shows it. `created_at` is in seconds since the epoch."""

    kind: str
    place: Place
    id: str
    name: str = ""
    birth: Birth | None = None
    owner: Owner | None = None
    status: str = ""
    reason: str = ""
    cost_per_hour: float | None = None
    created_at: float | None = None
    identity: str = ""


@dataclass(frozen=True)
class Inventory:
    """All things of one kind in one place. `complete` is False when a part did not answer; `error` says that none did."""

    place: Place
    kind: str
    things: tuple[Thing, ...] = field(default=())
    complete: bool = True
    error: str = ""

    @property
    def trusted(self) -> bool:
        """Whether absence from it says anything."""
        return self.complete and not self.error


async def list_places(core: Core, places: Iterable[Place]) -> tuple[Inventory, ...]:
    """One inventory for each place and each kind that its provider has. Never raises for a provider that does not answer."""
    found = await asyncio.gather(*(_list_place(core, place) for place in sorted(set(places))))
    return tuple(one for many in found for one in many)


async def _list_place(core: Core, place: Place) -> list[Inventory]:
    try:
        opened = core.open(place.provider, place.account or None)
    except AtlasError as error:
        return [Inventory(place, name, error=error.one_line()) for name in KINDS]
    able = [kind for kind in KINDS.values() if kind.ability is None or hasattr(opened.provider, _attribute(kind))]
    return list(await asyncio.gather(*(_list_kind(opened.provider, place, kind) for kind in able)))


def _attribute(kind: Kind[Any]) -> str:
    return ABILITIES[kind.ability or ""][1]


async def _list_kind(provider: Any, place: Place, kind: Kind[Any]) -> Inventory:
    try:
        listing = await kind.list(provider)
        things = tuple(_thing(place, kind.name, one) for one in listing)
    except AtlasError as error:
        return Inventory(place, kind.name, error=error.one_line())
    except Exception as error:  # noqa: BLE001 (a provider's own fault: the others are told of all the same)
        return Inventory(place, kind.name, error=f"its list could not be read: unexpected {type(error).__name__}")
    return Inventory(place, kind.name, things, listing.complete)


def _thing(place: Place, kind: str, one: Any) -> Thing:
    return Thing(
        kind=kind,
        place=place,
        id=one.id,
        name=one.name or "",
        birth=one.birth,
        owner=one.owner,
        status=one.status,
        reason=getattr(one, "reason", ""),
        cost_per_hour=one.cost_per_hour,
        created_at=one.created_at.timestamp() if one.created_at else None,
        identity=one.account,
    )
