"""Gives up a stack's ownership of a thing that is to outlive it: the acting half of `atlas release`.

The owner changes first, then the state: a thing with this stack's owner that no state holds would count as leaked.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas.backend import find_project
from pulumi_atlas.client.custody import Custodian
from pulumi_atlas.client.intents import KindName
from pulumi_atlas.drift._stack_editor import StackEditor
from pulumi_atlas.drift.stack_state import Held, StackState, parse
from pulumi_atlas.errors import AtlasError, Conflict, NotFound, Unsupported
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.providers.contract import ABILITIES
from pulumi_atlas.rules.custody import on_release

__all__ = ["ReleasePlan", "Releaser"]

_KINDS: tuple[KindName, ...] = ("pod", "volume", "endpoint")


@dataclass(frozen=True)
class ReleasePlan:
    """What would be done. `retag`: the provider is told; `urn`: of the resource that holds it; `forget`: take that out."""

    kind: KindName
    id: str
    provider: str
    account: str | None
    before: Owner | None
    tag: Tag
    retag: bool
    urn: str | None
    forget: bool
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The plan in words."""
        what = f"{self.kind} {self.id}"
        said = [f"{what}: its owner becomes {self.tag.owner} (now: {self.before or 'nobody'})"] if self.retag else []
        if self.forget:
            said.append(f"take {what} out of the state; it goes on as it is")
        return [*(said or [f"{what} is nobody's already"]), *self.notes]

    def as_json(self) -> dict[str, Any]:
        names = ("kind", "id", "provider", "account", "retag", "urn", "forget")
        return {
            **{name: getattr(self, name) for name in names},
            "birth": self.tag.birth,
            "owner_before": str(self.before) if self.before else None,
            "owner": str(self.tag.owner) if self.retag else (str(self.before) if self.before else None),
            "notes": list(self.notes),
        }


class Releaser:
    """In a project's folder, or outside one for what no stack is left of. Every method raises AtlasError."""

    def __init__(
        self,
        cwd: Path,
        environ: Mapping[str, str] | None = None,
        *,
        stack: str | None = None,
        provider: str | None = None,
        account: str | None = None,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        project = find_project(cwd)
        self.folder = project.folder if project else cwd
        self.cli = StackEditor(project.folder, self.environ, stack=stack) if project else None
        self._provider, self._account = provider, account

    def plan(
        self, ident: str, *, kind: KindName | None = None, forget: bool = False, forced: bool = False
    ) -> ReleasePlan:
        """Raises NotFound, Conflict for what is another's, Unsupported where the provider cannot change owners."""
        state = parse(self.cli.stack_export()) if self.cli else StackState(None, None)
        rows = (one for one in state.things if one.id == ident and not (one.external or one.doomed))
        held = next((one for one in rows if kind in (None, one.kind)), None)
        return asyncio.run(self._plan(ident, kind or (held.kind if held else None), held, state, forget, forced))

    def run(self, plan: ReleasePlan) -> None:
        """Do it. Safe to repeat."""
        asyncio.run(self._retag(plan))
        if plan.forget and plan.urn and self.cli:
            self.cli.forget_resource(plan.urn)

    async def _plan(
        self, ident: str, kind: KindName | None, held: Held | None, state: StackState, forget: bool, forced: bool
    ) -> ReleasePlan:
        custodian = self._custodian(held)
        try:
            kind, thing = await _find(custodian, ident, kind)
        finally:
            await custodian.aclose()
        verdict = on_release(thing.owner, held=held is not None, ours=state.stack_ids, forced=forced)
        if verdict in ("foreign_stack", "session"):
            raise _refusal(kind, thing)
        able = hasattr(custodian.provider, ABILITIES["retag"][1])
        if verdict == "release" and not able and not (forget and held):
            raise _unable(custodian.provider.name, kind, ident)
        return ReleasePlan(
            kind=kind,
            id=ident,
            provider=custodian.provider.name,
            account=custodian.opened.access.account,
            before=thing.owner,
            tag=Tag(thing.birth or (held.birth if held else None) or new_birth(), Owner("manual", getpass.getuser())),
            retag=verdict == "release" and able,
            urn=held.urn if held else None,
            forget=forget and held is not None,
            notes=tuple(_notes(held, forget=forget, able=able or verdict == "done")),
        )

    async def _retag(self, plan: ReleasePlan) -> None:
        custodian = self._custodian(None, plan)
        try:
            if plan.retag:
                await custodian.retag(plan.kind, plan.id, plan.tag)
            if plan.forget:  # or a recovery would take its note for a creation that no state knows
                custodian.book.close(plan.tag.birth)
        finally:
            await custodian.aclose()

    def _custodian(self, held: Held | None, plan: ReleasePlan | None = None) -> Custodian:
        provider = plan.provider if plan else self._provider or (held.provider if held else None)
        account = plan.account if plan else self._account or (held.account if held else None)
        config = self.cli.atlas_config() if self.cli else {}
        return Custodian(self.folder, self.environ, provider=provider, account=account, stack_config=config)


async def _find(custodian: Custodian, ident: str, kind: KindName | None) -> tuple[KindName, Any]:
    if kind:
        return kind, await custodian.look(kind, ident)
    for one in _KINDS:
        with contextlib.suppress(NotFound, Unsupported):
            return one, await custodian.look(one, ident)
    raise NotFound(
        f"nothing in account {await custodian.identity()} has the id {ident}",
        provider=custodian.provider.name,
        operation="release",
        hint="another account answers so for everything: see --account and --provider",
    )


def _notes(held: Held | None, *, forget: bool, able: bool) -> list[str]:
    said = []
    if held and not forget:
        said.append(
            f"the stack still manages it as {held.name} and would destroy it: declare it with"
            " retain_on_delete=True before you remove it, or say --forget"
        )
    if held and forget:
        said.append(f"remove {held.name} from the program too: it would make another one")
    if not able:
        said.append("the provider cannot change the owner that it carries: drift reports of this stack call it leaked")
    return said


def _refusal(kind: KindName, thing: Any) -> AtlasError:
    whose = "a session of deployment" if thing.owner.kind == "deployment" else "stack"
    return Conflict(
        f"{kind} {thing.id} belongs to {whose} {thing.owner.id}, and not to the stack here",
        operation="release",
        hint="run it in that stack's project; if that is no more: --force",
    )


def _unable(provider: str, kind: KindName, ident: str) -> AtlasError:
    return Unsupported(
        f"the owner that {kind} {ident} carries cannot be changed",
        provider=provider,
        operation="release",
        hint="--forget takes it out of the state all the same; drift reports of this stack then call it leaked",
    )
