"""A change of owner: seen by everybody, and nothing else of the thing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.ids import Birth, Owner, Tag, new_birth
from pulumi_atlas.models import Compute
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["RetagConformance"]

_OTHER = Owner("stack", "feedfacefeedface", "atlas:Pod::elsewhere")


class RetagConformance(Suite):
    """The ability `retag`."""

    @story
    async def test_a_pod_gets_another_owner_and_is_otherwise_the_same(self, stage: Stage) -> None:
        stage.need("retag")
        pod = await stage.running()
        await _retag(stage, pod)
        shown = await stage.another().get_compute(pod.id)
        assert (shown.owner, shown.birth, shown.status) == (_OTHER, pod.birth, "running")
        assert (shown.spec, shown.urls, shown.created_at) == (pod.spec, pod.urls, pod.created_at)
        assert [one.owner for one in await stage.listed() if one.id == pod.id] == [_OTHER]

    @story
    async def test_a_retagged_pod_can_be_stopped_started_and_terminated(self, stage: Stage) -> None:
        stage.need("retag")
        stage.need("stop")
        pod = await stage.running()
        await _retag(stage, pod)
        await stage.provider.stop(pod.id)
        await stage.provider.start(pod.id)
        assert (await stage.becomes(pod.id, "running")).owner == _OTHER
        await stage.provider.terminate(pod.id)
        await stage.is_gone(pod.id)

    @story
    async def test_a_volume_and_an_endpoint_get_another_owner(self, stage: Stage) -> None:
        stage.need("retag")
        if stage.has("volumes"):
            volume = await stage.volume()
            await stage.provider.retag("volume", volume.id, _tag(volume.birth))
            assert await stage.provider.get_volume(volume.id) == volume.model_copy(update={"owner": _OTHER})
        if stage.has("endpoints"):
            endpoint = await stage.endpoint()
            await stage.provider.retag("endpoint", endpoint.id, _tag(endpoint.birth))
            shown = await stage.provider.get_endpoint(endpoint.id)
            assert (shown.owner, shown.birth, shown.key) == (_OTHER, endpoint.birth, endpoint.key)

    @story
    async def test_retagging_twice_is_done(self, stage: Stage) -> None:
        stage.need("retag")
        pod = await stage.running()
        await _retag(stage, pod)
        await _retag(stage, pod)
        assert (await stage.provider.get_compute(pod.id)).owner == _OTHER

    @story
    async def test_a_birth_is_for_life(self, stage: Stage) -> None:
        stage.need("retag")
        pod = await stage.running()
        with pytest.raises(Conflict):
            await stage.provider.retag("pod", pod.id, Tag(new_birth(), _OTHER))
        assert await stage.provider.get_compute(pod.id) == pod

    @story
    async def test_what_is_not_there_raises_not_found(self, stage: Stage) -> None:
        stage.need("retag")
        tag = replace(stage.tag(), owner=_OTHER)
        with pytest.raises(NotFound):
            await stage.provider.retag("pod", stage.harness.missing_id, tag)
        with pytest.raises(NotFound):
            await stage.provider.retag("volume", stage.harness.missing_id, tag)


async def _retag(stage: Stage, pod: Compute) -> None:
    await stage.provider.retag("pod", pod.id, _tag(pod.birth))


def _tag(birth: Birth | None) -> Tag:
    assert birth is not None, "what was made with a tag shows its birth"
    return Tag(birth, _OTHER)
