"""`atlas gpus`: the canonical names, and what a provider rents out now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _options, _views
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Where, perform

if TYPE_CHECKING:
    from pulumi_atlas.gpus import Gpu
    from pulumi_atlas.models import GpuOffer

__all__ = ["show"]


def show(
    provider: _options.Provider = None,
    account: _options.Account = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the provider for prices and stock.")] = False,
    as_json: _options.AsJson = False,
) -> None:
    """GPU names; with --live, prices and stock.

    The names are the same for all providers; with --provider, its own name for each stands beside it.
    """
    out = Out(json=as_json)
    if live:
        _show_offers(out, Where(provider, account))
    else:
        _show_catalog(out, provider)


def _show_catalog(out: Out, provider: str | None) -> None:
    from pulumi_atlas import gpus

    rows = [gpus.find(name) for name in gpus.known(provider)]
    none = "no GPUs"
    if provider and not rows:
        from pulumi_atlas.providers import registry

        registry.load(provider)  # an unknown name is an error, not an empty list
        none = f"{provider} rents no GPUs: {gpus.why_none(provider) or 'the catalog knows none'}"
    head = ("GPU", "MEMORY GB", f"NAME AT {provider}".upper() if provider else "RENTED BY")
    out.result(
        [_plain(gpu) for gpu in rows],
        lambda: out.table(head, [_row(gpu, provider) for gpu in rows], none=none),
    )


def _plain(gpu: Gpu) -> dict[str, Any]:
    natives = {provider: _ids(gpu, provider) for provider in gpu.providers}
    known = {"name": gpu.name, "family": gpu.family, "vendor": gpu.vendor, "memory_gb": gpu.memory_gb}
    return {**known, "form": gpu.form, "aliases": list(gpu.aliases), "native": natives}


def _ids(gpu: Gpu, provider: str) -> dict[str, str]:
    """The provider's ids by number of cards; `*` fits any number."""
    return {str(number or "*"): ident for number, ident in gpu.natives[provider].items()}


def _row(gpu: Gpu, provider: str | None) -> tuple[str, ...]:
    if provider is None:
        return gpu.name, str(gpu.memory_gb), ", ".join(gpu.providers)
    ids = _ids(gpu, provider).values() if provider in gpu.natives else [gpu.name]
    return gpu.name, str(gpu.memory_gb), ", ".join(ids)


def _show_offers(out: Out, where: Where) -> None:
    offers = perform(out, where, lambda atlas: atlas.list_gpu_types(), doing="asking for offers")
    ordered = sorted(offers, key=lambda offer: (offer.canonical is None, offer.canonical or "", offer.id))
    columns = ("GPU", "ITS NAME THERE", "MEMORY GB", "$/H", "SPOT $/H", "STOCK")
    out.result(
        [offer.model_dump(mode="json") for offer in ordered],
        lambda: out.table(columns, [_offer_row(offer) for offer in ordered], none="the provider offers no GPUs now"),
    )


def _offer_row(offer: GpuOffer) -> tuple[str, ...]:
    memory = str(offer.memory_gb) if offer.memory_gb is not None else ""
    prices = _views.money(offer.lowest_price_per_hour), _views.money(offer.spot_price_per_hour)
    return offer.canonical or "", offer.id, memory, *prices, offer.stock
