"""This computer as a cloud: pods are processes, volumes are folders, endpoints are small servers on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_atlas.providers.local._provider import LocalProvider

__all__ = ["LocalProvider"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: an endpoint's supervisor lives in this package too, and needs none of it to start.
    if name == "LocalProvider":
        from pulumi_atlas.providers.local._provider import LocalProvider

        return LocalProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
