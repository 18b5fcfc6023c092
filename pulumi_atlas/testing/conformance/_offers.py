"""Offers: what is rented out, named so that it can be asked for."""

from __future__ import annotations

from pulumi_atlas import gpus
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["OfferConformance"]


class OfferConformance(Suite):
    """The ability `offers`."""

    @story
    async def test_each_offer_names_its_provider_and_a_sensible_price(self, stage: Stage) -> None:
        stage.need("offers")
        offers = await stage.provider.list_offers()
        assert offers
        for offer in offers:
            assert offer.provider == stage.harness.name
            assert offer.id
            for price in (offer.lowest_price_per_hour, offer.spot_price_per_hour):
                assert price is None or 0 <= price < 1000

    @story
    async def test_canonical_names_are_those_of_the_catalog(self, stage: Stage) -> None:
        stage.need("offers")
        for offer in await stage.provider.list_offers():
            if offer.canonical is not None:
                assert gpus.find(offer.canonical).name == offer.canonical
