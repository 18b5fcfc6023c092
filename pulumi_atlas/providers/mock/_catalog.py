"""What the mock cloud rents out: every GPU of the catalog, at prices that never change by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi_atlas import gpus
from pulumi_atlas.models import CloudType, GpuOffer, Stock
from pulumi_atlas.providers.mock._state import PROVIDER, State

__all__ = ["CPU", "offers", "price", "volume_price"]

#: What a pod without a GPU counts as, in capacity and prices.
CPU = "cpu"

#: US dollars per hour and card, near to what such cards cost; any other card costs a cent per gigabyte of its memory.
_PRICES: Mapping[str, float] = {
    CPU: 0.08,
    "a100_40g": 1.29,
    "a100_40g_pcie": 1.19,
    "a100_80g": 1.64,
    "a100_80g_sxm": 1.89,
    "b200": 5.98,
    "b300": 7.19,
    "h100": 2.99,
    "h100_nvl": 2.79,
    "h100_pcie": 2.39,
    "h200": 3.99,
    "h200_nvl": 3.49,
    "l40s": 0.86,
    "mi300x": 2.49,
    "rtx_4090": 0.69,
    "rtx_5090": 0.94,
}
_COMMUNITY, _SPOT = 0.8, 0.5
_VOLUME_PER_GB_HOUR = 0.0001


def price(state: State, kind: str, *, spot: bool = False, cloud_type: CloudType = "any") -> float:
    """US dollars per hour of one card (or of a pod without): fixed by the kind, or by the test."""
    full = state.settings.prices.get(kind)
    if full is None:
        full = _PRICES[kind] if kind in _PRICES else gpus.find(kind).memory_gb * 0.01
    factor = (_SPOT if spot else 1.0) * (_COMMUNITY if cloud_type == "community" else 1.0)
    return round(full * factor, 4)


def volume_price(size_gb: int) -> float:
    """US dollars per hour of a volume."""
    return round(size_gb * _VOLUME_PER_GB_HOUR, 6)


def offers(state: State) -> Sequence[GpuOffer]:
    """All kinds with price and stock."""
    rows = []
    for name in gpus.known(PROVIDER):
        left = state.settings.capacity.get(name)
        offer = GpuOffer(
            id=gpus.native(name, PROVIDER),
            provider=PROVIDER,
            canonical=name,
            display_name=f"Mock {name}",
            memory_gb=gpus.find(name).memory_gb,
            lowest_price_per_hour=price(state, name),
            spot_price_per_hour=price(state, name, spot=True),
            stock=_stock(left),
            raw={"capacity": left},
        )
        rows.append(offer)
    return tuple(rows)


def _stock(capacity: int | None) -> Stock:
    if capacity is None:
        return "high"
    if capacity <= 0:
        return "unavailable"
    return "low" if capacity <= 2 else "medium"
