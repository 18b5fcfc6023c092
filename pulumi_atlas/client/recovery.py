"""Removes what unclosed intents stand for: the acting half of `atlas doctor --recover`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.intents import Intent, IntentBook
from pulumi_atlas.client.kinds import KINDS

__all__ = ["Remover"]


class Remover:
    """Opens providers with a stack's configuration (`atlas:runpodApiKey` …) and removes births, one by one."""

    def __init__(self, cwd: Path, environ: Mapping[str, str], stack_config: Mapping[str, str] | None = None) -> None:
        self._core = Core(cwd=cwd, environ=environ, stack_config=stack_config)

    @property
    def book(self) -> IntentBook:
        """The notes of this machine's user."""
        return self._core.book

    async def remove(self, intent: Intent) -> bool:
        """Terminate what the intent stands for, confirm that it is gone, close the intent. Whether there was anything.

        Raises WrongAccount, Unauthorized, the provider's errors, and Conflict when the removal cannot be confirmed; the
        intent is then still there. Safe to repeat.
        """
        opened = self._core.open(intent.provider, intent.account)
        return await self._core.creator(opened).remove_birth(KINDS[intent.kind], intent)

    async def aclose(self) -> None:
        """Close the connections of all opened providers."""
        await self._core.aclose()
