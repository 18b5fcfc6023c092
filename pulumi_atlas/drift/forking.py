"""A stack whose state was copied gets an id of its own, and takes over what it is to keep: `atlas adopt-owner`.

::

    a  the new id is noted               (a run that is killed goes on with the same one)
    b  at the provider, what is taken over gets the new owner
    c  the state is rewritten in one go: the new id, the new owners, without what is left to the other copy

Killed between b and c it is run again: until then both states hold the things by id and birth, and nothing is leaked.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulumi_atlas import config, files
from pulumi_atlas.backend import find_backend, home_of, require_project
from pulumi_atlas.client.custody import Custodian
from pulumi_atlas.client.intents import KindName
from pulumi_atlas.drift._stack_editor import StackEditor
from pulumi_atlas.drift._words import FOREIGN
from pulumi_atlas.drift.stack_state import Held, StackState, parse
from pulumi_atlas.errors import AtlasError, Conflict, NotFound
from pulumi_atlas.ids import Owner, StackId, Tag, new_stack_id
from pulumi_atlas.providers.contract import ABILITIES

__all__ = ["ForkPlan", "Forker", "Taken", "rewritten"]

_STACK_TYPE = "pulumi-python:dynamic/atlas:Stack"


@dataclass(frozen=True)
class Taken:
    """One thing that this copy keeps. `retag` is False where it is gone or its provider cannot change owners."""

    kind: KindName
    held: Held
    before: Owner | None
    tag: Tag | None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            **_row(self.held, self.kind),
            "owner_before": str(self.before) if self.before else None,
            "owner": str(self.tag.owner) if self.tag else None,
            "note": self.note,
        }


@dataclass(frozen=True)
class ForkPlan:
    """What this copy of a state becomes. `left`: things that it forgets, since the other copy keeps them."""

    stack: str
    old_id: StackId
    new_id: StackId
    taken: tuple[Taken, ...]
    left: tuple[Held, ...]
    export: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def lines(self) -> list[str]:
        """The plan in words."""
        said = [f"stack {self.stack} gets an id of its own: {self.new_id} (now: {self.old_id})"]
        for one in self.taken:
            owner = f"its owner becomes {one.tag.owner}" if one.tag else one.note
            said.append(f"keep {one.held.name} ({one.kind} {one.held.id}): {owner}")
        return said + [f"forget {one.name} ({one.id}): the other copy keeps it" for one in self.left]

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "old_id": self.old_id,
            "new_id": self.new_id,
            "taken": [one.as_json() for one in self.taken],
            "left": [_row(one, one.kind) for one in self.left],
        }


class Forker:
    """For one stack of one project. Every method raises AtlasError."""

    def __init__(self, cwd: Path, environ: Mapping[str, str] | None = None, *, stack: str | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        project = require_project(cwd)
        self.folder = project.folder
        self.cli = StackEditor(project.folder, self.environ, stack=stack)
        self.stack = self.cli.current_stack()
        self._home = home_of(find_backend(self.environ, project), project.name, self.stack)
        digest = hashlib.sha256(f"{self.folder}\n{self.stack}".encode()).hexdigest()[:12]
        state_dir = config.load(cwd=self.folder, environ=self.environ).state_dir
        self._note = state_dir / "forks" / f"{project.name}-{digest}.json"

    def plan(self, leave: Collection[str] = ()) -> ForkPlan:
        """`leave`: ids of things that the other copy keeps; "all" for everything.

        Raises Conflict when there is nothing to separate, an operation is unfinished, or something depends on what is
        left; and what a provider says that does not answer.
        """
        export = self.cli.stack_export()
        state = parse(export)
        old = _required_id(state, self.stack)
        kept, left = _divide(state, leave)
        _check_dependents(export, {one.urn for one in left})
        new = self._new_id(old)
        taken = asyncio.run(self._look(kept, old, new))
        return ForkPlan(self.stack, old, new, tuple(taken), tuple(left), export)

    def run(self, plan: ForkPlan) -> None:
        """Do it. When it raises, the state is as it was; run it again."""
        files.make_private_folder(self._note.parent)
        files.write_json(self._note, {"old": plan.old_id, "new": plan.new_id})
        asyncio.run(self._retag(plan.taken))
        forgotten = {one.urn for one in plan.left}
        self.cli.replace_state(rewritten(plan.export, plan.old_id, plan.new_id, forgotten, home=self._home))
        files.remove(self._note)

    def _new_id(self, old: StackId) -> StackId:
        noted = files.read_json(self._note) or {}
        return StackId(noted["new"]) if noted.get("old") == old and noted.get("new") else new_stack_id()

    async def _look(self, kept: Sequence[Held], old: StackId, new: StackId) -> list[Taken]:
        custodians = self._custodians(kept)
        try:
            work = (_take(custodians[_place(one)], one, old, new) for one in kept)
            return list(await asyncio.gather(*work))
        finally:
            await asyncio.gather(*(one.aclose() for one in custodians.values()))

    async def _retag(self, taken: Sequence[Taken]) -> None:
        custodians = self._custodians([one.held for one in taken if one.tag])
        try:
            await asyncio.gather(
                *(custodians[_place(one.held)].retag(one.kind, one.held.id, one.tag) for one in taken if one.tag)
            )
        finally:
            await asyncio.gather(*(one.aclose() for one in custodians.values()))

    def _custodians(self, things: Sequence[Held]) -> dict[tuple[str | None, str | None], Custodian]:
        settings = self.cli.atlas_config() if things else {}
        return {
            place: Custodian(self.folder, self.environ, provider=place[0], account=place[1], stack_config=settings)
            for place in {_place(one) for one in things}
        }


def rewritten(
    export: Mapping[str, Any],
    old: StackId,
    new: StackId,
    forgotten: Collection[str] = (),
    *,
    home: str | None = None,
) -> dict[str, Any]:
    """The state under the new id, made at `home` from now on, without the forgotten resources. Pure."""
    changed = copy.deepcopy(dict(export))
    rows = [row for row in changed["deployment"].get("resources") or () if row.get("urn") not in forgotten]
    for row in rows:
        if row.get("type") == _STACK_TYPE and row.get("id") == old:
            row["id"] = new
            if home and "home" in (row.get("outputs") or {}):
                row["outputs"]["home"] = home
        for side in ("inputs", "outputs"):
            owner = (row.get(side) or {}).get("owner")
            if isinstance(owner, str) and owner.startswith(f"stack:{old}:"):
                row[side]["owner"] = f"stack:{new}:" + owner.removeprefix(f"stack:{old}:")
    changed["deployment"]["resources"] = rows
    return changed


async def _take(custodian: Custodian, held: Held, old: StackId, new: StackId) -> Taken:
    kind = held.kind or "pod"
    owner = Owner("stack", new, held.owner.path if held.owner else f"atlas:{held.type.rpartition(':')[2]}::{held.name}")
    try:
        thing = await custodian.look(kind, held.id)
    except NotFound:
        return Taken(kind, held, None, None, "it is not there; a refresh will say so")
    if held.birth and thing.birth and thing.birth != held.birth:
        raise _foreign(kind, held, "carries another birth than the state")
    if thing.owner and thing.owner.kind != "manual" and thing.owner.id not in (old, new):
        raise _foreign(kind, held, f"belongs to {thing.owner} by now")
    if not hasattr(custodian.provider, ABILITIES["retag"][1]):
        return Taken(
            kind, held, thing.owner, None, f"{custodian.provider.name} cannot change the owner that it carries"
        )
    birth = thing.birth or held.birth
    if birth is None:
        return Taken(kind, held, thing.owner, None, "it has no birth, and so no owner can be noted with it")
    return Taken(kind, held, thing.owner, Tag(birth, owner))


def _foreign(kind: KindName, held: Held, why: str) -> AtlasError:
    return Conflict(
        f"{kind} {held.id} {why}", operation="adopt-owner", hint=f"leave it to the other: --leave {held.id}"
    )


def _required_id(state: StackState, stack: str) -> StackId:
    if state.stack_id is None:
        raise Conflict(f"stack {stack} has no id of ours, so none to separate", operation="adopt-owner")
    if state.pending or state.pending_others:
        raise Conflict(
            f"the state of stack {stack} holds operations that did not end",
            operation="adopt-owner",
            hint=f"first {FOREIGN}" if state.other_creations else "`atlas doctor --recover` first",
        )
    return StackId(state.stack_id)


def _divide(state: StackState, leave: Collection[str]) -> tuple[list[Held], list[Held]]:
    things = [one for one in state.things if not one.external]
    unknown = sorted(set(leave) - {"all"} - {one.id for one in things})
    if unknown:
        raise NotFound(f"the state holds nothing with the id {unknown[0]}", operation="adopt-owner")
    left = [one for one in things if "all" in leave or one.id in leave]
    return [one for one in things if one not in left], left


def _check_dependents(export: Mapping[str, Any], forgotten: Collection[str]) -> None:
    for row in export["deployment"].get("resources") or ():
        if row.get("urn") in forgotten:
            continue
        needs = {*(row.get("dependencies") or ()), row.get("parent"), row.get("deletedWith")}
        needs |= {urn for urns in (row.get("propertyDependencies") or {}).values() for urn in urns or ()}
        lost = sorted(str(urn) for urn in needs & set(forgotten))
        if lost:
            names = f"{str(row['urn']).rpartition('::')[2]} depends on {lost[0].rpartition('::')[2]}"
            raise Conflict(f"{names}, which is to be left", operation="adopt-owner", hint="leave both, or neither")


def _place(held: Held) -> tuple[str | None, str | None]:
    return held.provider, held.account


def _row(held: Held, kind: KindName | None) -> dict[str, Any]:
    return {"kind": kind, "id": held.id, "name": held.name, "urn": held.urn, "birth": held.birth}
