"""Looks at things that are there already, and changes whose they are: for imports, releases and forked stacks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.intents import IntentBook, KindName
from pulumi_atlas.client.kinds import KINDS, require
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import NotFound, ProviderFailure
from pulumi_atlas.ids import EndpointId, PodId, Tag, VolumeId
from pulumi_atlas.models import VolumeSpec
from pulumi_atlas.providers.contract import ABILITIES

__all__ = ["Custodian", "Seen"]

Seen = tuple[KindName, Any]


class Custodian:
    """One provider in one account. `stack_config`: the stack's `atlas:…` configuration. Belongs to one event loop."""

    def __init__(
        self,
        cwd: Path,
        environ: Mapping[str, str],
        *,
        provider: str | None,
        account: str | None = None,
        stack_config: Mapping[str, str] | None = None,
    ) -> None:
        """Sends nothing. Raises ConfigError or Unauthorized when the provider cannot be reached so."""
        self._core = Core(cwd=cwd, environ=environ, stack_config=stack_config)
        self.opened: Opened = self._core.open(provider, account)

    @property
    def book(self) -> IntentBook:
        """The notes of this machine's user."""
        return self._core.book

    @property
    def provider(self) -> Any:
        return self.opened.provider

    async def identity(self) -> str:
        """The account that is reached."""
        return await self.opened.identity()

    async def look(self, kind: KindName, ident: str) -> Any:
        """The thing as it is now. Raises NotFound naming the account that was asked, and why it cannot be known."""
        ability = KINDS[kind].ability
        if ability:
            require(self.provider, ability, operation=f"get_{kind}")
        try:
            return await KINDS[kind].get(self.provider, ident)
        except NotFound as error:
            source = f", by the key from {self.opened.access.key_source}" if self.opened.access.key_source else ""
            text = f"there is no {kind} {ident} in account {await self.identity()}{source}"
            hint = "another account answers so for everything: see --account and --provider"
            raise NotFound(text, provider=self.provider.name, operation="look", hint=hint) from error

    async def look_all(self, kinds: Sequence[KindName] = ("volume", "pod", "endpoint")) -> list[Seen]:
        """Everything in the account, volumes first. Raises ProviderFailure when a listing is not complete."""
        able = [name for name in kinds if self._has(KINDS[name].ability)]
        listings = await asyncio.gather(*(KINDS[name].list(self.provider) for name in able))
        if not all(listing.complete for listing in listings):
            text = "the list of things is not complete: a part of the account did not answer"
            raise ProviderFailure(text, provider=self.provider.name, operation="list", hint="run it again")
        return [(name, one) for name, listing in zip(able, listings, strict=True) for one in listing]

    async def retag(self, kind: KindName, ident: str, tag: Tag) -> None:
        """Let the thing carry the tag's owner. Raises Unsupported, NotFound, Conflict for another birth."""
        require(self.provider, "retag", operation="retag")
        try:
            await self.provider.retag(kind, ident, tag)
        finally:
            self.opened.wrote()

    async def rename(self, kind: KindName, thing: Any, name: str) -> None:
        """Give the thing another name, where the provider's table says that this is done in place."""
        try:
            if kind == "pod":
                spec = thing.spec.model_copy(update={"name": name})
                await self.provider.update_compute(PodId(thing.id), spec, restart=False)
            elif kind == "endpoint":
                spec = thing.spec.model_copy(update={"name": name})
                await self.provider.update_endpoint(EndpointId(thing.id), spec, restart=False)
            else:
                wanted = VolumeSpec(name=name, size_gb=thing.size_gb, region=thing.region)
                await self.provider.update_volume(VolumeId(thing.id), wanted)
        finally:
            self.opened.wrote()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._core.aclose()

    def _has(self, ability: str | None) -> bool:
        return ability is None or hasattr(self.provider, ABILITIES[ability][1])
