"""Stable URLs: they follow from ids alone."""

from __future__ import annotations

import pytest

from pulumi_atlas.models import Port
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["StableUrlConformance"]

_PORTS = ("8080/http", "9090/tcp")


class StableUrlConformance(Suite):
    """The ability `stable_urls`."""

    @story
    async def test_urls_made_from_the_id_are_the_urls_that_are_seen(self, stage: Stage) -> None:
        stage.need("stable_urls")
        pod = await stage.running(ports=_PORTS)
        ports = [Port.model_validate(port) for port in _PORTS]
        derived = type(stage.provider).pod_urls(pod.id, ports)
        assert list(derived) == ["8080", "9090"]
        assert derived == pod.urls == (await stage.provider.get_compute(pod.id)).urls

    @story
    async def test_two_pods_have_different_urls(self, stage: Stage) -> None:
        stage.need("stable_urls")
        first, second = await stage.running(ports=_PORTS), await stage.running(ports=_PORTS)
        assert not set(first.urls.values()) & set(second.urls.values())

    @story
    async def test_a_foreign_id_is_refused(self, stage: Stage) -> None:
        stage.need("stable_urls")
        for foreign in ("", "i-0123456789abcdef0", "../etc"):
            with pytest.raises(ValueError, match=r".+"):
                type(stage.provider).pod_urls(foreign, [Port(number=8080)])
            if stage.has("endpoints"):
                with pytest.raises(ValueError, match=r".+"):
                    type(stage.provider).endpoint_url(foreign)

    @story
    async def test_the_url_made_from_an_endpoints_id_is_the_url_that_is_seen(self, stage: Stage) -> None:
        stage.need("stable_urls")
        endpoint = await stage.endpoint()
        assert type(stage.provider).endpoint_url(endpoint.id) == endpoint.url
