"""The three kinds of things that are rented, each with the provider methods that make, find and remove one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pulumi_atlas.client.intents import KindName
from pulumi_atlas.errors import Unsupported
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import Compute, ComputeFilter, Listing, ObservedEndpoint, ObservedVolume
from pulumi_atlas.providers.contract import ABILITIES, Provider

__all__ = ["ENDPOINT", "KINDS", "POD", "VOLUME", "Kind", "require"]

T = TypeVar("T", bound=Compute | ObservedVolume | ObservedEndpoint)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """`create`, `get`, `list`, `remove`: the provider's methods, with the provider as first argument."""

    name: KindName
    ability: str | None
    create: Callable[[Any, Any, Tag], Awaitable[T]]
    get: Callable[[Any, str], Awaitable[T]]
    list: Callable[[Any], Awaitable[Listing[T]]]
    remove: Callable[[Any, str], Awaitable[None]]


def require(provider: Provider | type[Provider], ability: str, *, operation: str) -> None:
    """Refuse before any request what the provider cannot do. Raises Unsupported with the provider's reason."""
    if hasattr(provider, ABILITIES[ability][1]):
        return
    reason = provider.reasons.get(ability) or "`atlas providers` shows who can"
    raise Unsupported(
        f"it has no {ability.replace('_', ' ')}", provider=provider.name, operation=operation, hint=reason
    )


POD: Kind[Compute] = Kind(
    "pod",
    None,
    lambda provider, spec, tag: provider.create_compute(spec, tag),
    lambda provider, ident: provider.get_compute(ident),
    lambda provider: provider.list_compute(ComputeFilter()),
    lambda provider, ident: provider.terminate(ident),
)
VOLUME: Kind[ObservedVolume] = Kind(
    "volume",
    "volumes",
    lambda provider, spec, tag: provider.create_volume(spec, tag),
    lambda provider, ident: provider.get_volume(ident),
    lambda provider: provider.list_volumes(),
    lambda provider, ident: provider.delete_volume(ident),
)
ENDPOINT: Kind[ObservedEndpoint] = Kind(
    "endpoint",
    "endpoints",
    lambda provider, spec, tag: provider.create_endpoint(spec, tag),
    lambda provider, ident: provider.get_endpoint(ident),
    lambda provider: provider.list_endpoints(),
    lambda provider, ident: provider.delete_endpoint(ident),
)
KINDS: dict[KindName, Kind[Any]] = {"pod": POD, "volume": VOLUME, "endpoint": ENDPOINT}
