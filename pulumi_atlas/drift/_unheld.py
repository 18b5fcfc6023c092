"""Ends things of a stack that its state does not hold, each after a fresh proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.kinds import KINDS
from pulumi_atlas.drift._pulumi_cli import PulumiCli
from pulumi_atlas.drift.findings import DriftItem
from pulumi_atlas.drift.stack_state import StackState, parse
from pulumi_atlas.errors import AtlasError, Conflict, NotFound

__all__ = ["Ended", "Unheld", "disproof"]


@dataclass(frozen=True)
class Ended:
    """What was ended, and what could not be."""

    ended: tuple[DriftItem, ...] = ()
    failed: tuple[tuple[DriftItem, AtlasError], ...] = ()


def disproof(item: DriftItem, thing: Any, state: StackState) -> str:
    """Why the thing may not be ended; empty when it is this stack's by its owner, its birth is the one that was found, and no
    resource and no pending operation of the state knows it."""
    if thing.owner is None or thing.owner.kind != "stack" or thing.owner.id != state.stack_id:
        return "it does not carry this stack's id"
    if thing.birth != item.birth:
        return "it carries another birth than the one that was found"
    if state.holds(thing.birth or "", thing.id):
        return "the state holds it now"
    if thing.birth and any(one.thing.birth == thing.birth for one in state.pending):
        return "an operation of the state is about it"
    return ""


class Unheld:
    """Opens providers with the stack's configuration."""

    def __init__(self, folder: Path, environ: Mapping[str, str], cli: PulumiCli) -> None:
        self._folder, self._environ, self._cli = folder, environ, cli

    def end(self, items: Iterable[DriftItem], *, say: Callable[[str], None]) -> Ended:
        """End them, pods and endpoints before the volumes that they mount. Never raises for a single thing."""
        state, config = parse(self._cli.stack_export()), self._cli.atlas_config()
        many = sorted(items, key=lambda item: item.kind == "volume")

        async def work() -> list[AtlasError | None]:
            core = Core(cwd=self._folder, environ=self._environ, stack_config=config)
            try:
                return [await self._end(core, item, state, say) for item in many]
            finally:
                await core.aclose()

        outcomes = asyncio.run(work())
        pairs = list(zip(many, outcomes, strict=True))
        return Ended(
            tuple(item for item, error in pairs if error is None),
            tuple((item, error) for item, error in pairs if error is not None),
        )

    async def _end(
        self, core: Core, item: DriftItem, state: StackState, say: Callable[[str], None]
    ) -> AtlasError | None:
        kind = KINDS[item.kind]  # type: ignore[index]
        try:
            opened = core.open(item.provider, item.account)
            thing = await kind.get(opened.provider, item.id or "")
            why = disproof(item, thing, state)
            if why:
                raise Conflict(
                    f"{kind.name} {item.id} was not ended: {why}", provider=item.provider, operation="terminate"
                )
            intent = core.book.get(item.birth) if item.birth else None
            if intent is not None and intent.writer.may_be_alive():
                raise Conflict(
                    f"process {intent.writer.pid} is at work on {kind.name} {item.id}", operation="terminate"
                )
            await core.delete(kind, opened, thing.id, identity=thing.account, birth=thing.birth)
        except NotFound:
            say(f"{kind.name} {item.id} is there no more")
            return None
        except AtlasError as error:
            say(f"{kind.name} {item.id}: {error.one_line()}")
            return error
        say(f"{kind.name} {item.id} terminated")
        return None
