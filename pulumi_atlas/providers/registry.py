"""Which providers there are: name → dotted path and install hint, imported on first use.

Other packages add theirs through the entry-point group `pulumi_atlas.providers`::

    [project.entry-points."pulumi_atlas.providers"]
    acme = "acme_atlas:AcmeProvider"
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import cast

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.providers.contract import Provider

__all__ = ["GROUP", "Row", "known", "load", "rows"]

GROUP = "pulumi_atlas.providers"


@dataclass(frozen=True)
class Row:
    """Where a provider's class is (`module:Class`), what to install when it cannot be imported, and who registered it."""

    path: str
    install: str = ""
    source: str = "pulumi_atlas"


_OWN: Mapping[str, Row] = MappingProxyType(
    {
        "local": Row("pulumi_atlas.providers.local:LocalProvider"),
        "mock": Row("pulumi_atlas.providers.mock:MockProvider"),
    }
)


@cache
def rows() -> Mapping[str, Row]:
    """All registered providers by name. Ours win over a third party's of the same name."""
    found = {
        point.name: Row(point.value, source=point.dist.name if point.dist else "an entry point")
        for point in metadata.entry_points(group=GROUP)
    }
    return MappingProxyType(dict(sorted({**found, **_OWN}.items())))


def known() -> tuple[str, ...]:
    """The names of all registered providers, sorted."""
    return tuple(rows())


@cache
def load(name: str) -> type[Provider]:
    """The provider's class. Raises ConfigError for an unknown name (with the nearest known one), or when it cannot load."""
    row = _OWN.get(name) or rows().get(name)  # ours win, and need no search through what is installed
    if row is None:
        near = difflib.get_close_matches(name, known(), n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"there is no provider '{name}'", hint=f"{guess}known: {', '.join(known())}")
    module, _, attribute = row.path.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        hint = row.install or f"it is registered by {row.source} as {row.path}"
        raise ConfigError(f"provider '{name}' cannot be loaded: {error}", hint=hint) from error
    return cast("type[Provider]", loaded)
