"""Offers: what a provider rents out now, and for how much."""

from __future__ import annotations

from typing import Any, Literal

from pulumi_atlas.models._base import Frozen
from pulumi_atlas.models.compute import CloudType

__all__ = ["GpuOffer", "Stock"]

Stock = Literal["high", "medium", "low", "unavailable", "unknown"]


class GpuOffer(Frozen):
    """One kind of GPU at one provider. Prices are per hour and card; `id` is the provider's name, `canonical` ours."""

    id: str
    provider: str
    canonical: str | None = None
    display_name: str | None = None
    memory_gb: int | None = None
    lowest_price_per_hour: float | None = None
    spot_price_per_hour: float | None = None
    stock: Stock = "unknown"
    cloud_type: CloudType = "any"
    raw: dict[str, Any] = {}
