"""Takes things that are there already into a stack: the acting half of `atlas import`.

::

    a  the things are looked at, and what would be done is planned      (changes nothing)
    b  the engine takes them into its state                             (or refuses: nothing has changed)
    c  their notes are closed, their environments kept as secrets
    d  at the provider they get this stack's owner and their names

Killed at any place it is run again: what the stack holds already is not taken twice, and c and d are done as far as they
are missing. State comes before owner, because a thing with this stack's owner that no state holds would count as leaked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pulumi_atlas.backend import Project, find_backend, require_project
from pulumi_atlas.client.custody import Custodian, Seen
from pulumi_atlas.client.intents import IntentBook, KindName
from pulumi_atlas.drift._import_env import place_envs
from pulumi_atlas.drift._import_file import import_content
from pulumi_atlas.drift._import_plan import Step, Target, free_name, make_step
from pulumi_atlas.drift._known_states import read_folder
from pulumi_atlas.drift._python_lines import python_lines
from pulumi_atlas.drift._stack_editor import StackEditor
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.ids import StackId, new_stack_id
from pulumi_atlas.resources.existing import stored_stack

__all__ = ["ImportPlan", "Imported", "Importer", "Left", "Say"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Left:
    """A thing that is not taken, and why."""

    kind: KindName
    id: str
    name: str | None
    owner: str | None
    error: AtlasError

    def as_json(self) -> dict[str, Any]:
        names = ("kind", "id", "name", "owner")
        return {**{name: getattr(self, name) for name in names}, "error": self.error.as_json()}


@dataclass(frozen=True)
class ImportPlan:
    """What would be taken, and what is left where it is.

    `new_stack_id`: the state has no id of ours yet and gets one; `secrets`: settings that are to be written.
    """

    stack: str
    provider: str
    account: str
    stack_id: StackId
    new_stack_id: bool
    steps: tuple[Step, ...]
    left: tuple[Left, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def code(self) -> str:
        """The lines of Python that declare all of them."""
        return python_lines([step.declaration for step in self.steps])

    def lines(self) -> list[str]:
        """The plan in words."""
        said = [line for step in self.steps for line in step.lines(self.stack)]
        return [*said, *(f"not taken: {one.error.message}" for one in self.left)]

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "provider": self.provider,
            "account": self.account,
            "steps": [step.as_json() for step in self.steps],
            "left": [one.as_json() for one in self.left],
            "code": self.code,
        }


@dataclass(frozen=True)
class Imported:
    """What was done. `failed`: things that the stack holds now, while the provider could not be told so."""

    plan: ImportPlan
    failed: tuple[tuple[Step, AtlasError], ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        rows = [{"kind": step.kind, "id": step.id, "error": error.as_json()} for step, error in self.failed]
        return {**self.plan.as_json(), "complete": not self.failed, "failed": rows}


class Importer:
    """Imports into one stack of one project from one account. Every method raises AtlasError."""

    def __init__(
        self,
        cwd: Path,
        environ: Mapping[str, str] | None = None,
        *,
        stack: str | None = None,
        provider: str | None = None,
        account: str | None = None,
        say: Say | None = None,
    ) -> None:
        """Finds project and engine. Raises ConfigError when there is none."""
        self.environ = os.environ if environ is None else environ
        self.project: Project = require_project(cwd)
        self.say = say or (lambda line: None)
        self._provider, self._account = provider, account
        self.cli = StackEditor(self.project.folder, self.environ, stack=stack)
        self.stack = self.cli.current_stack()

    def plan(
        self, wanted: Sequence[tuple[KindName, str]], *, name: str | None = None, forced: bool = False
    ) -> ImportPlan:
        """The plan for these things. Raises at the first that cannot be taken, and then nothing is."""
        return asyncio.run(self._plan_these(wanted, name, forced))

    def plan_all(self, kinds: Sequence[KindName]) -> ImportPlan:
        """The plan for whatever is in no stack. Raises ProviderFailure when the listing is not complete."""
        return asyncio.run(self._plan_all(kinds))

    def run(self, plan: ImportPlan) -> Imported:
        """Do it. Raises what the engine says when it does not take them; what the provider says is in the result."""
        fresh = [step.stored for step in plan.steps if step.stored]
        if fresh:
            self.say(f"taking {len(fresh)} into stack {self.stack}")
            self.cli.import_resources(
                import_content([*([stored_stack(plan.stack_id)] if plan.new_stack_id else []), *fresh])
            )
        for name, value in plan.secrets.items():
            self.cli.set_secret(name, value)
        return Imported(plan, asyncio.run(self._tell_provider(plan)))

    # ---- looking

    async def _plan_these(self, wanted: Sequence[tuple[KindName, str]], name: str | None, forced: bool) -> ImportPlan:
        custodian = self._custodian()
        try:
            target, new = await self._target(custodian)
            things = await asyncio.gather(*(custodian.look(kind, ident) for kind, ident in wanted))
        finally:
            await custodian.aclose()
        steps: list[Step] = []
        for (kind, _), thing in zip(wanted, things, strict=True):
            named = name or free_name(thing, {step.name for step in steps if step.kind == kind})
            made = _is_being_made(custodian.book, thing)
            steps.append(make_step(kind, thing, target, name=named, being_made=made, forced=forced))
        return self._made_plan(target, new, steps, [])

    async def _plan_all(self, kinds: Sequence[KindName]) -> ImportPlan:
        custodian = self._custodian()
        try:
            target, new = await self._target(custodian)
            seen = await custodian.look_all(kinds)
        finally:
            await custodian.aclose()
        steps: list[Step] = []
        left: list[Left] = []
        for kind, thing in seen:
            if target.held(kind, thing.id) or getattr(thing, "status", "") == "terminated":
                continue
            taken = target.names(kind) | {step.name for step in steps if step.kind == kind}
            outcome = self._try_step((kind, thing), target, taken, _is_being_made(custodian.book, thing))
            (steps if isinstance(outcome, Step) else left).append(outcome)  # type: ignore[arg-type]
        return self._made_plan(target, new, steps, left)

    def _try_step(self, seen: Seen, target: Target, taken: Collection[str], being_made: bool) -> Step | Left:
        kind, thing = seen
        try:
            return make_step(kind, thing, target, name=free_name(thing, taken), being_made=being_made)
        except AtlasError as error:
            return Left(kind, thing.id, thing.name, str(thing.owner) if thing.owner else None, error)

    def _custodian(self) -> Custodian:
        folder, config = self.project.folder, self.cli.atlas_config()
        return Custodian(folder, self.environ, provider=self._provider, account=self._account, stack_config=config)

    async def _target(self, custodian: Custodian) -> tuple[Target, bool]:
        """The stack as it is, and whether it needs an id."""
        state = parse(self.cli.stack_export())
        target = Target(
            stack=self.stack,
            stack_id=StackId(state.stack_id) if state.stack_id else new_stack_id(),
            state=state,
            provider=custodian.provider,
            account=self._account,
            identity=await custodian.identity(),
            others=self._held_by_others(),
        )
        return target, state.stack_id is None

    def _held_by_others(self) -> dict[str, str]:
        """What other stacks of a `file://` backend hold; of other backends nothing is known."""
        root = find_backend(self.environ, self.project).root
        mine = (self.stack, f"{self.project.name}/{self.stack}")
        states = [one for one in read_folder(root) if one.label not in mine] if root else []
        return {key: one.label for one in states for key in one.holds}

    def _made_plan(self, target: Target, new: bool, steps: Sequence[Step], left: Sequence[Left]) -> ImportPlan:
        settings = self.cli.settings(self.project.name)
        places, secrets = place_envs([(step.name, step.env) for step in steps], settings)
        return ImportPlan(
            stack=self.stack,
            provider=target.provider.name,
            account=target.identity,
            stack_id=target.stack_id,
            new_stack_id=new,
            steps=tuple(replace(step, env_place=place) for step, place in zip(steps, places, strict=True)),
            left=tuple(left),
            secrets=secrets,
        )

    # ---- acting

    async def _tell_provider(self, plan: ImportPlan) -> tuple[tuple[Step, AtlasError], ...]:
        custodian = self._custodian()
        try:
            errors = await asyncio.gather(*(_settle(custodian, step) for step in plan.steps))
        finally:
            await custodian.aclose()
        return tuple((step, error) for step, error in zip(plan.steps, errors, strict=True) if error is not None)


async def _settle(custodian: Custodian, step: Step) -> AtlasError | None:
    """What is left after the engine knows the thing: its note goes, its owner and name change."""
    try:
        custodian.book.close(step.tag.birth)
        if step.retag:
            await custodian.retag(step.kind, step.id, step.tag)
        if step.rename:
            await custodian.rename(step.kind, await custodian.look(step.kind, step.id), step.name)
    except AtlasError as error:
        return error
    return None


def _is_being_made(book: IntentBook, thing: Any) -> bool:
    """Whether a living process of this machine's user is still at work on it."""
    intent = book.get(thing.birth) if thing.birth else None
    return intent is not None and intent.state == "open" and intent.writer.may_be_alive()
