"""Whose account it is: told the same by everybody who reaches it, carried by everything seen in it, different elsewhere."""

from __future__ import annotations

import pytest

from pulumi_atlas.errors import NotFound
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["IdentityConformance"]


class IdentityConformance(Suite):
    """The account's identity."""

    @story
    async def test_every_instance_on_an_account_tells_the_same_identity(self, stage: Stage) -> None:
        identity = await stage.provider.identity()
        assert identity
        assert identity == await stage.provider.identity() == await stage.another().identity()

    @story
    async def test_every_observed_value_carries_the_account_and_the_providers_name(self, stage: Stage) -> None:
        identity = await stage.provider.identity()
        pod = await stage.running()
        await stage.appears(pod.id)
        seen = [pod, await stage.provider.get_compute(pod.id), *await stage.listed()]
        if stage.has("volumes"):
            volume = await stage.volume()
            seen += [volume, await stage.provider.get_volume(volume.id), *await stage.provider.list_volumes()]
        assert {(thing.account, thing.provider) for thing in seen} == {(identity, stage.harness.name)}
        assert stage.provider.name == stage.harness.name

    @story
    async def test_another_account_has_another_identity_and_finds_nothing_of_this_one(self, stage: Stage) -> None:
        pod = await stage.running()
        other = stage.account(stage.harness.other_account())
        assert await other.identity() != await stage.provider.identity()
        assert pod.id not in {seen.id for seen in await stage.listed(other)}
        with pytest.raises(NotFound):
            await other.get_compute(pod.id)
        with pytest.raises(NotFound):
            await other.terminate(pod.id)
        assert (await stage.provider.get_compute(pod.id)).status == "running"
