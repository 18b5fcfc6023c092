"""An opened provider: the instance, the account it reaches, and the inventories shared by everybody in this process."""

from __future__ import annotations

import asyncio
from typing import Any

from pulumi_atlas.access import Access
from pulumi_atlas.client._inventory import Inventory
from pulumi_atlas.client.intents import KindName
from pulumi_atlas.client.kinds import KINDS, Kind
from pulumi_atlas.errors import WrongAccount
from pulumi_atlas.models import ComputeSpec, Listing, PodArgs
from pulumi_atlas.providers.contract import Provider
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.validation import Traits

__all__ = ["Opened", "endpoint_traits", "pod_traits"]


class Opened:
    """One provider in one account. Belongs to one event loop."""

    def __init__(self, provider: Provider, access: Access, clock: Clock) -> None:
        self.provider: Any = provider
        self.access = access
        self._identity: str | None = None
        self._identity_lock = asyncio.Lock()
        self._inventories: dict[KindName, Inventory[Any]] = {
            name: Inventory(provider, kind, clock) for name, kind in KINDS.items()
        }
        self._earlier: dict[KindName, asyncio.Task[Listing[Any]]] = {}

    def inventory(self, kind: Kind[Any]) -> Inventory[Any]:
        """The shared inventory of one kind of thing."""
        return self._inventories[kind.name]

    async def earlier(self, kind: Kind[Any]) -> Listing[Any]:
        """What was there when this process first asked: one listing for all who want to know. The provider's errors pass."""
        if kind.name not in self._earlier:
            self._earlier[kind.name] = asyncio.ensure_future(self.inventory(kind).listing())
        return await asyncio.shield(self._earlier[kind.name])

    def wrote(self) -> None:
        """Something of ours was changed: no listing from before may be used."""
        for inventory in self._inventories.values():
            inventory.drop()

    async def identity(self) -> str:
        """The account's identity, asked for once."""
        async with self._identity_lock:
            if self._identity is None:
                self._identity = await self.provider.identity()
            return self._identity

    async def check_account(self, expected: str | None, *, operation: str, name: str) -> None:
        """Raises WrongAccount when a thing was made in another account: there, everything looks "not found"."""
        here = await self.identity()
        if expected and expected != here:
            raise WrongAccount(
                f"{name} was made in account {expected}, but this run reaches {here}",
                provider=self.provider.name,
                operation=operation,
                hint=_account_hint(self.access),
            )


def _account_hint(access: Access) -> str:
    if access.key_source:
        return (
            f"the key came from {access.key_source}; use the account that the thing was made in (nothing was changed)"
        )
    return "run where it was made, with the same folder and settings (nothing was changed)"


def pod_traits(provider: type[Provider]) -> Traits:
    """What the provider honours of a pod's arguments; our own arguments are always honoured."""
    ours = frozenset(PodArgs.model_fields) - frozenset(ComputeSpec.model_fields)
    return Traits(provider.name, provider.accepts | ours, provider.reasons)


def endpoint_traits(provider: type[Provider]) -> Traits:
    """What the provider honours of an endpoint's arguments."""
    ours = frozenset({"provider", "account", "trigger", "timeouts"})
    return Traits(provider.name, provider.endpoint_accepts | ours, provider.reasons)
