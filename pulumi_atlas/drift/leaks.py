"""What is ours in an account and in none of the given states: for a person to decide. It only looks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.intents import IntentBook
from pulumi_atlas.drift._known_states import KnownState, given_states, unreadable
from pulumi_atlas.drift._listing import Inventory, Place, Thing, list_places
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.rules.custody import Standing, standing

__all__ = ["LeakReport", "UnknownThing", "find_leaks"]

_COUNTS: frozenset[Standing] = frozenset({"leaked", "unknown_stack"})
_SHOWN: tuple[Standing, ...] = ("leaked", "unknown_stack", "session", "manual", "in_progress")
_END = {"pod": "compute terminate", "volume": "volumes delete", "endpoint": "endpoints delete"}


@dataclass(frozen=True)
class UnknownThing:
    """A thing that no given state holds. `cost_per_hour` is in the account's currency, None when not known."""

    thing: Thing
    standing: Standing
    next: str

    @property
    def is_leak(self) -> bool:
        """Whether a stack made it: sessions and what was made by hand are nobody's leak."""
        return self.standing in _COUNTS

    def as_json(self) -> dict[str, Any]:
        one = self.thing
        names = ("kind", "id", "name", "birth", "status", "cost_per_hour", "created_at")
        return {
            **{name: getattr(one, name) for name in names},
            "owner": str(one.owner) if one.owner else None,
            "standing": self.standing,
            "next": self.next,
        }


@dataclass(frozen=True)
class LeakReport:
    """`complete`: every list and every state could be read; `troubles` says which could not."""

    provider: str
    account: str
    states: tuple[str, ...]
    things: tuple[UnknownThing, ...]
    troubles: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.troubles

    @property
    def leaks(self) -> tuple[UnknownThing, ...]:
        """Those that a stack made."""
        return tuple(one for one in self.things if one.is_leak)

    def of(self, kind: Standing) -> tuple[UnknownThing, ...]:
        """Those of one standing."""
        return tuple(one for one in self.things if one.standing == kind)

    def cost_per_hour(self, things: Iterable[UnknownThing]) -> float:
        """Of those whose price is known."""
        return round(sum(one.thing.cost_per_hour or 0.0 for one in things), 6)

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "account": self.account,
            "complete": self.complete,
            "troubles": list(self.troubles),
            "states": list(self.states),
            "leaks": len(self.leaks),
            "cost_per_hour": {kind: self.cost_per_hour(self.of(kind)) for kind in _SHOWN},
            "items": [one.as_json() for one in self.things],
        }


def find_leaks(
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    *,
    provider: str | None = None,
    account: str | None = None,
    state_folders: Sequence[Path] = (),
    stacks: Sequence[str] = (),
) -> LeakReport:
    """Compare an account with states (see `given_states`). Raises ConfigError, Unauthorized, and what the engine says.

    A provider or a state that does not answer is in `troubles`: then less is known than there is.
    """
    environ = os.environ if environ is None else environ
    core = Core(cwd=cwd, environ=environ)
    name = core.choose(provider, account)
    inventories, identity = asyncio.run(_list(core, Place(name, account or "")))
    # after the listing: what is stored meanwhile is seen as held
    states = given_states(cwd, environ, folders=state_folders, stacks=stacks)
    found = judge(inventories, states, core.book, where=_flags(name, account))
    troubles = [_trouble(one) for one in inventories if not one.trusted]
    troubles += [f"the state of {label} cannot be read" for label in unreadable(states)]
    return LeakReport(name, identity, tuple(one.label for one in states), tuple(found), tuple(troubles))


def judge(
    inventories: Iterable[Inventory], states: Sequence[KnownState], book: IntentBook, *, where: str
) -> list[UnknownThing]:
    """What no state holds, in the order of its standing, the dearest first."""
    known = frozenset(ident for one in states if one.state for ident in one.state.stack_ids)
    held = frozenset(key for one in states for key in one.holds)
    found = []
    for one in (thing for inventory in inventories for thing in inventory.things):
        if one.status == "terminated":
            continue
        is_held = one.id in held or one.birth in held
        what = standing(
            one.owner, has_birth=one.birth is not None, held=is_held, known=known, being_made=_is_being_made(book, one)
        )
        if what in _SHOWN:
            found.append(UnknownThing(one, what, _next(one, what, where)))
    return sorted(found, key=lambda row: (_SHOWN.index(row.standing), -(row.thing.cost_per_hour or 0.0), row.thing.id))


async def _list(core: Core, place: Place) -> tuple[tuple[Inventory, ...], str]:
    try:
        inventories = await list_places(core, [place])
        return inventories, await _identity(core, place)
    finally:
        await core.aclose()


async def _identity(core: Core, place: Place) -> str:
    try:
        return await core.open(place.provider, place.account or None).identity()
    except AtlasError:  # the lists have said why
        return ""


def _is_being_made(book: IntentBook, thing: Thing) -> bool:
    intent = book.get(thing.birth) if thing.birth else None
    return intent is not None and intent.writer.may_be_alive()


def _next(thing: Thing, what: Standing, where: str) -> str:
    if what == "in_progress":
        return "wait until it is made"
    if what == "session":
        return "its companion ends it"
    end = f"atlas {_END[thing.kind]} {thing.id} {where}"
    if what == "unknown_stack":
        return f"give its stack's state with --state-dir or --stack; if there is none: {end}"
    return f"{end}, or keep it: atlas import {thing.kind} {thing.id} {where}"


def _trouble(inventory: Inventory) -> str:
    return inventory.error or f"the list of {inventory.kind}s is not complete"


def _flags(provider: str, account: str | None) -> str:
    return f"--provider {provider}" + (f" --account {account}" if account else "")
