"""What an import would do to one thing: decided from the thing, the stack's state and the provider's tables alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi_atlas.client.intents import KindName
from pulumi_atlas.drift._import_env import EnvPlace
from pulumi_atlas.drift._python_lines import Declaration
from pulumi_atlas.drift.stack_state import Held, StackState
from pulumi_atlas.errors import AtlasError, Conflict, NotFound, Unsupported
from pulumi_atlas.ids import Owner, StackId, Tag, new_birth
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.resources.existing import CLASS_NAMES, Stored, stored_thing
from pulumi_atlas.rules.custody import Taking, on_take
from pulumi_atlas.rules.declaring import endpoint_arguments, pod_arguments, volume_arguments

__all__ = ["Step", "Target", "free_name", "make_step"]

_TABLES: Mapping[KindName, str] = {
    "pod": "compute_changes",
    "volume": "volume_changes",
    "endpoint": "endpoint_changes",
}
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Target:
    """The stack that takes things, and the account that they are in.

    `others`: the name of the stack by the ids and births that other states of the same backend hold, as far as these can
    be read.
    """

    stack: str
    stack_id: StackId
    state: StackState
    provider: Any
    account: str | None
    identity: str
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def can_retag(self) -> bool:
        return hasattr(self.provider, ABILITIES["retag"][1])

    def held(self, kind: KindName, ident: str) -> Held | None:
        """The resource that manages the thing, if there is one; `Pod.get` only reads it."""
        things = (one for one in self.state.things if one.kind == kind and one.id == ident)
        return next((one for one in things if not (one.external or one.doomed)), None)

    def other_holder(self, thing: Any) -> str | None:
        """The stack whose state holds the thing as well."""
        return self.others.get(thing.id) or self.others.get(thing.birth or "")

    def names(self, kind: KindName) -> set[str]:
        """The names that are taken for that kind."""
        return {one.name for one in self.state.things if one.kind == kind}


@dataclass(frozen=True)
class Step:
    """The import of one thing. `stored` is None when the stack holds it already: then only what is missing is done.

    `before`: its owner now; `rename`, `retag`: whether the provider is to be told; `env_place`: where its env is kept.
    """

    kind: KindName
    id: str
    name: str
    live_name: str | None
    before: Owner | None
    tag: Tag
    stored: Stored | None = field(repr=False)
    arguments: Mapping[str, Any] = field(repr=False)
    rename: bool
    retag: bool
    cost_per_hour: float | None
    notes: tuple[str, ...] = ()
    env_place: EnvPlace | None = None

    @property
    def env(self) -> Mapping[str, str]:
        """Its environment, all of which counts as secret."""
        env: Mapping[str, str] = self.arguments.get("env") or {}
        return env

    @property
    def declaration(self) -> Declaration:
        """For the lines to paste."""
        return Declaration(CLASS_NAMES[self.kind], self.name, self.id, self.arguments, self.env_place)

    def lines(self, stack: str) -> list[str]:
        """What would be done, in words."""
        what = f"{self.kind} {self.id}"
        took = (
            f"take {what} into stack {stack} as {self.name}" if self.stored else f"{what} is {self.name} here already"
        )
        said = [took]
        if self.retag:
            said.append(f"{what}: its owner becomes {self.tag.owner} (now: {self.before or 'nobody'})")
        if self.rename:
            said.append(f"{what}: its name becomes {self.name} (now: {self.live_name or 'none'})")
        if self.env_place:
            said.append(f"{what}: its env is kept as the secret setting {self.env_place}")
        return [*said, *(f"{what}: {note}" for note in self.notes)]

    def as_json(self) -> dict[str, Any]:
        names = ("kind", "id", "name", "live_name", "rename", "retag", "cost_per_hour")
        return {
            **{name: getattr(self, name) for name in names},
            "held": self.stored is None,
            "birth": self.tag.birth,
            "owner_before": str(self.before) if self.before else None,
            "owner": str(self.tag.owner),
            "env": str(self.env_place) if self.env_place else None,
            "notes": list(self.notes),
        }


def make_step(
    kind: KindName, thing: Any, target: Target, *, name: str, being_made: bool = False, forced: bool = False
) -> Step:  # fmt: skip
    """How the thing would be taken as `name`. Raises Conflict, NotFound, Unsupported or InvalidSpec when it cannot be."""
    held = target.held(kind, thing.id)
    verdict = on_take(
        thing.owner,
        status=thing.status,
        held=held is not None,
        ours=target.state.stack_ids,
        being_made=being_made,
        forced=forced,
    )
    if verdict not in ("take", "held"):
        raise _refusal(verdict, kind, thing, target)
    if verdict == "take" and target.other_holder(thing) and not forced:
        raise _held_elsewhere(kind, thing, target)
    name = held.name if held else name
    rename = (thing.name or None) != name
    if held:
        rename = rename and _can_rename(kind, thing, target)
    else:
        _check_name(kind, thing, target, name, rename=rename)
    owner = Owner("stack", target.stack_id, f"atlas:{CLASS_NAMES[kind]}::{name}")
    tag = Tag(thing.birth or (held.birth if held else None) or new_birth(), _path_kept(held, owner))
    arguments = _arguments(kind, thing, target)
    stored = None if held else stored_thing(kind, thing, arguments, name=name, tag=tag, identity=target.identity)
    return Step(
        kind=kind,
        id=thing.id,
        name=name,
        live_name=thing.name,
        before=thing.owner,
        tag=tag,
        stored=stored,
        arguments=arguments,
        rename=rename,
        retag=target.can_retag and thing.owner != tag.owner,
        cost_per_hour=thing.cost_per_hour,
        notes=tuple(_notes(kind, thing, target, arguments, taken_from_others=forced)),
    )


def free_name(thing: Any, taken: Collection[str]) -> str:
    """A name for a thing that nobody named: its own, else its id, as far as that is free."""
    wanted = _UNNAMEABLE.sub("-", thing.name or thing.id).strip("-._")[:60] or "imported"
    return _free(wanted, taken)


def _free(wanted: str, taken: Collection[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _path_kept(held: Held | None, owner: Owner) -> Owner:
    """The owner as the state has it, where it has one: a resource below a component has a longer path."""
    same = held is not None and held.owner is not None and held.owner.id == owner.id
    return held.owner if same and held is not None and held.owner is not None else owner


def _check_name(kind: KindName, thing: Any, target: Target, name: str, *, rename: bool) -> None:
    if name in target.names(kind):
        raise Conflict(
            f"stack {target.stack} has {kind} {name} already", operation="import", hint="choose another with --name"
        )
    if rename and not _can_rename(kind, thing, target):
        hint = f"import it under its own name: --name {thing.name}" if thing.name else "give it a name there first"
        raise Unsupported(
            f"{kind} {thing.id} is called {thing.name or 'nothing'} and cannot be renamed in place",
            provider=target.provider.name,
            operation="import",
            hint=hint,
        )


def _can_rename(kind: KindName, thing: Any, target: Target) -> bool:
    table: Mapping[str, str] = getattr(target.provider, _TABLES[kind], {})
    return table.get("name") == "in_place" and (kind == "volume" or thing.spec is not None)


def _arguments(kind: KindName, thing: Any, target: Target) -> dict[str, Any]:
    if kind == "pod":
        said = pod_arguments(thing)
    elif kind == "endpoint":
        said = endpoint_arguments(thing)
    else:
        said = volume_arguments(thing, has_regions="regions" in target.provider.accepts)
    return {"provider": target.provider.name, **({"account": target.account} if target.account else {}), **said}


def _notes(kind: KindName, thing: Any, target: Target, arguments: Mapping[str, Any], *, taken_from_others: bool) -> Any:
    if kind == "pod" and thing.status == "failed":
        yield 'it has failed, so it is declared as stopped; desired_status="running" starts it again'
    if kind == "endpoint" and thing.status in ("failed", "stopped"):
        yield "it does not serve; the next `pulumi up` starts it again"
    if arguments.get("auth"):
        yield "its token is not known here: the next `pulumi up` mints another, and what was handed out before is refused"
    place = arguments.get("working_dir")
    if place and not str(place).startswith(("/", "~")):
        yield f"its working_dir {place} counts from the project's folder from now on"
    ours = thing.owner is not None and thing.owner.kind == "stack" and thing.owner.id == target.stack_id
    if not target.can_retag and not ours:
        yield (
            f"{target.provider.name} cannot change the owner that it carries, so that it stays {thing.owner or 'nobody'}"
            " there: only this stack's state knows of it, and no drift report will ever call it leaked"
        )
    other = target.other_holder(thing)
    foreign = thing.owner is not None and thing.owner.kind != "manual" and thing.owner.id not in target.state.stack_ids
    if taken_from_others and (other or foreign):
        yield (
            f"{f'stack {other}' if other else thing.owner} may still hold it and would destroy it with the rest:"
            " take it out of that state with `pulumi state delete`"
        )


def _held_elsewhere(kind: KindName, thing: Any, target: Target) -> AtlasError:
    return Conflict(
        f"the state of stack {target.other_holder(thing)} holds {kind} {thing.id}",
        operation="import",
        hint="`atlas release --forget` there takes it out of that state; --force takes it all the same",
    )


def _refusal(verdict: Taking, kind: KindName, thing: Any, target: Target) -> AtlasError:
    what = f"{kind} {thing.id}"
    if verdict == "ended":
        return NotFound(f"{what} is terminated", provider=target.provider.name, operation="import")
    if verdict == "being_made":
        return Conflict(
            f"{what} is being made now", operation="import", hint="wait until that has ended, then import it"
        )
    whose = "a session of deployment" if verdict == "session" else "stack"
    return Conflict(
        f"{what} belongs to {whose} {thing.owner.id} ({thing.owner.path or 'no path'})",
        provider=target.provider.name,
        operation="import",
        hint="`atlas release` there gives it up; --force takes it all the same",
    )
