"""GPUs by canonical name: one name is one kind of hardware at every provider, whatever the provider calls it.

The table is `gpus.yaml` beside this file; it is read on first use. Where a name of old was ambiguous it now stands for
the commonest card (`h100` is the SXM card, `a100_80g` the PCIe card, `a100_40g` the SXM card); the others have names of
their own (`h100_pcie`, `h100_nvl`, `a100_80g_sxm`, `a100_40g_pcie`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pulumi_atlas.errors import Failure, InvalidSpec

__all__ = ["Form", "Gpu", "canonical", "card_count", "counts", "find", "known", "native", "why_none"]

Form = Literal["fhhl", "mig", "mxm", "nvl", "oam", "pcie", "sff", "superchip", "sxm", "unknown"]

#: Megabytes that a card reports per gigabyte on its box: vendors round both ways (80 → 81,920, 180 → 183,359).
_LEAST_MB_PER_GB, _MOST_MB_PER_GB = 953, 1100


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. `memory_gb` is per card, as on the box; `natives` holds each provider's ids by number of cards,
    where the number 0 stands for an id that fits any number."""

    name: str
    family: str
    vendor: Literal["nvidia", "amd"]
    memory_gb: int
    form: Form
    aliases: tuple[str, ...] = ()
    natives: Mapping[str, Mapping[int, str]] = field(default_factory=dict, compare=False, repr=False)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers known to rent this card, sorted; not those whose own ids are our names."""
        return tuple(sorted(self.natives))

    @property
    def memory_mb(self) -> tuple[int, int]:
        """The least and the most that such a card reports, in megabytes: what tells two cards of one native name apart."""
        return self.memory_gb * _LEAST_MB_PER_GB, self.memory_gb * _MOST_MB_PER_GB

    def has_memory(self, megabytes: float) -> bool:
        """Whether a card that reports so many megabytes can be of this kind."""
        least, most = self.memory_mb
        return least <= megabytes <= most


@dataclass(frozen=True)
class _Catalog:
    gpus: Mapping[str, Gpu]
    names: Mapping[str, str]  # plain spelling → canonical name, aliases included
    by_native: Mapping[tuple[str, str], tuple[str, ...]]
    counts: Mapping[tuple[str, str], int]
    canonical_ids: frozenset[str]
    none: Mapping[str, str]


def find(name: str) -> Gpu:
    """The GPU of that name or alias; case, spaces, dashes and underscores do not matter.

    Raises InvalidSpec (path `gpu`) with the nearest known names when there is none.
    """
    catalog = _catalog()
    found = catalog.names.get(_plain(name))
    if found is not None:
        return catalog.gpus[found]
    raise InvalidSpec([Failure("gpu", f"there is no GPU '{name}'", _nearest(name, catalog))])


def known(provider: str | None = None) -> tuple[str, ...]:
    """All canonical names, or those that `provider` rents, sorted. Empty for a provider that has no entry."""
    catalog = _catalog()
    if provider is None or provider in catalog.canonical_ids:
        return tuple(catalog.gpus)
    return tuple(name for name, gpu in catalog.gpus.items() if provider in gpu.natives)


def why_none(provider: str) -> str | None:
    """Why the provider rents no GPUs at all; None when it does, or when we do not know it."""
    return _catalog().none.get(provider)


def counts(name: str, provider: str) -> tuple[int, ...]:
    """The numbers of cards in which `provider` rents this GPU; empty when its ids fit any number or it has none."""
    ids = find(name).natives.get(provider, {})
    return tuple(sorted(number for number in ids if number))


def native(name: str, provider: str, *, count: int = 1) -> str:
    """The provider's own id for `count` cards of this GPU. Names and aliases as in `find`.

    Raises InvalidSpec (path `gpu` or `gpu_count`) when the name is unknown, when the provider does not rent that card
    (the hint names what it has of the same family), or not in that number.
    """
    gpu, catalog = find(name), _catalog()
    if provider in catalog.canonical_ids:
        return gpu.name
    ids = gpu.natives.get(provider)
    if not ids:
        raise InvalidSpec([_not_rented(gpu, provider, catalog)], provider=provider)
    found = ids.get(0) or ids.get(count)
    if found is None:
        numbers = ", ".join(str(number) for number in sorted(ids))
        failure = Failure("gpu_count", f"{provider} does not rent {gpu.name} by {count}", f"it has: {numbers}")
        raise InvalidSpec([failure], provider=provider)
    return found


def canonical(native_id: str, provider: str, *, memory_mb: float | None = None) -> str | None:
    """The canonical name of a provider's own id; None when it is unknown, or when it stands for several cards.

    `memory_mb` is what the card reports, in megabytes: where one id stands for several cards it decides between them, and
    where it contradicts the only one, the answer is None.
    """
    catalog = _catalog()
    if provider in catalog.canonical_ids:
        return catalog.names.get(_plain(native_id))
    names = catalog.by_native.get((provider, _one_spaced(native_id)), ())
    fitting = [name for name in names if memory_mb is None or catalog.gpus[name].has_memory(memory_mb)]
    return fitting[0] if len(fitting) == 1 else None


def card_count(native_id: str, provider: str) -> int | None:
    """The number of cards that the provider's id itself tells; None when it tells none."""
    return _catalog().counts.get((provider, _one_spaced(native_id)))


@cache
def _catalog() -> _Catalog:
    import yaml  # here, because it costs more than the rest of this module

    text = Path(__file__).with_name("gpus.yaml").read_bytes()
    table: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    gpus = {name: _gpu(name, row) for name, row in table["gpus"].items()}
    spellings = ((spelling, gpu.name) for gpu in gpus.values() for spelling in (gpu.name, *gpu.aliases))
    by_native: dict[tuple[str, str], tuple[str, ...]] = {}
    numbers: dict[tuple[str, str], int] = {}
    for gpu in gpus.values():
        for provider, number, native_id in _ids(gpu):
            key = (provider, native_id)
            by_native[key] = (*by_native.get(key, ()), gpu.name)
            if number:
                numbers[key] = number
    return _Catalog(
        gpus=MappingProxyType(gpus),
        names=MappingProxyType({_plain(spelling): name for spelling, name in spellings}),
        by_native=MappingProxyType(by_native),
        counts=MappingProxyType(numbers),
        canonical_ids=frozenset(table["canonical_ids"]),
        none=MappingProxyType(table["none"]),
    )


def _gpu(name: str, row: Mapping[str, Any]) -> Gpu:
    natives = {
        provider: MappingProxyType(ids if isinstance(ids, dict) else {0: ids})
        for provider, ids in row["native"].items()
    }
    return Gpu(
        name=name,
        family=row.get("family", name),
        vendor=row.get("vendor", "nvidia"),
        memory_gb=row["memory_gb"],
        form=row.get("form", "pcie"),
        aliases=tuple(row.get("aliases", ())),
        natives=MappingProxyType(natives),
        spellings=MappingProxyType({provider: tuple(ids) for provider, ids in row.get("also", {}).items()}),
    )


def _ids(gpu: Gpu) -> Iterator[tuple[str, int, str]]:
    for provider, ids in gpu.natives.items():
        yield from ((provider, number, native_id) for number, native_id in ids.items())
    for provider, spellings in gpu.spellings.items():
        # A spelling tells its number of cards the way all ids of Lambda do.
        for native_id in spellings:
            number = re.match(r"gpu_(\d+)x_", native_id)
            yield provider, int(number[1]) if number else 0, native_id


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


def _one_spaced(native_id: str) -> str:
    return " ".join(native_id.split())


def _nearest(name: str, catalog: _Catalog) -> str:
    plain = _plain(name)
    starting = [spelling for spelling in catalog.names if plain and spelling.startswith(plain)]
    near = starting or difflib.get_close_matches(plain, catalog.names, n=3)
    names = sorted({catalog.names[spelling] for spelling in near})
    if names and len(names) <= 8:
        return f"did you mean {' or '.join(repr(n) for n in names)}?"
    return "`atlas gpus` lists all names"


def _not_rented(gpu: Gpu, provider: str, catalog: _Catalog) -> Failure:
    reason = catalog.none.get(provider)
    if reason:
        return Failure("gpu", f"{provider} rents no GPUs: {reason}", "choose another provider, or leave gpu out")
    family = [g.name for g in catalog.gpus.values() if g.family == gpu.family and provider in g.natives]
    have = f"of the same family it has {', '.join(family)}" if family else f"it is rented by {', '.join(gpu.providers)}"
    return Failure("gpu", f"{provider} does not rent {gpu.name}", have)
