"""Volumes: they outlive pods, grow and never shrink, and are not deleted under a pod that mounts them."""

from __future__ import annotations

import asyncio

import pytest

from pulumi_atlas.errors import Conflict, InvalidSpec, NotFound
from pulumi_atlas.models import ObservedVolume
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["VolumeConformance"]


class VolumeConformance(Suite):
    """The ability `volumes`."""

    @story
    async def test_a_created_volume_is_shown_by_get_and_by_list_and_gone_after_delete(self, stage: Stage) -> None:
        stage.need("volumes")
        tag = stage.tag()
        spec = stage.harness.volume_spec(name="conformance-data", size_gb=2)
        made = await stage.provider.create_volume(spec, tag)
        listed = [v for v in await stage.provider.list_volumes() if v.id == made.id]
        for volume in (made, await stage.provider.get_volume(made.id), *listed):
            assert (volume.id, volume.birth, volume.owner) == (made.id, tag.birth, tag.owner)
            assert (volume.size_gb, volume.name, volume.attached_to) == (2, "conformance-data", ())
        assert len(listed) == 1
        await stage.provider.delete_volume(made.id)
        with pytest.raises(NotFound):
            await stage.provider.get_volume(made.id)
        assert made.id not in {v.id for v in await stage.provider.list_volumes()}

    @story
    async def test_get_update_and_delete_of_a_missing_volume_raise_not_found(self, stage: Stage) -> None:
        stage.need("volumes")
        missing = stage.harness.missing_id
        with pytest.raises(NotFound):
            await stage.provider.get_volume(missing)
        with pytest.raises(NotFound):
            await stage.provider.update_volume(missing, stage.harness.volume_spec())
        with pytest.raises(NotFound):
            await stage.provider.delete_volume(missing)

    @story
    async def test_a_volume_grows_under_its_id(self, stage: Stage) -> None:
        volume = await stage.volume(size_gb=1)
        if stage.provider.volume_changes.get("size_gb", "replace") == "replace":
            pytest.skip(f"{stage.harness.name} does not let a volume grow")
        grown = await stage.provider.update_volume(volume.id, stage.harness.volume_spec(size_gb=3))
        assert (grown.id, grown.size_gb, grown.birth) == (volume.id, 3, volume.birth)
        assert (await stage.provider.get_volume(volume.id)).size_gb == 3

    @story
    async def test_shrinking_is_refused_and_changes_nothing(self, stage: Stage) -> None:
        volume = await stage.volume(size_gb=3)
        with pytest.raises(InvalidSpec) as refused:
            await stage.provider.update_volume(volume.id, stage.harness.volume_spec(size_gb=2))
        assert [failure.path for failure in refused.value.failures] == ["size_gb"]
        assert (await stage.provider.get_volume(volume.id)).size_gb == 3

    @story
    async def test_a_mounted_volume_says_so_and_cannot_be_deleted_until_the_pod_is_gone(self, stage: Stage) -> None:
        volume = await stage.volume()
        pod = await stage.running(volumes={"/data": volume.id})
        assert (await stage.provider.get_volume(volume.id)).attached_to == (pod.id,)
        with pytest.raises(Conflict) as refused:
            await stage.provider.delete_volume(volume.id)
        assert pod.id in str(refused.value)
        await stage.provider.terminate(pod.id)
        await stage.is_gone(pod.id)
        assert (await stage.provider.get_volume(volume.id)).attached_to == ()
        await stage.provider.delete_volume(volume.id)

    @story
    async def test_a_volume_stays_mounted_by_a_stopped_pod(self, stage: Stage) -> None:
        stage.need("stop")
        volume = await stage.volume()
        pod = await stage.running(volumes={"/data": volume.id})
        await stage.provider.stop(pod.id)
        with pytest.raises(Conflict):
            await stage.provider.delete_volume(volume.id)

    @story
    async def test_a_pod_removed_behind_the_providers_back_no_longer_holds_its_volume(self, stage: Stage) -> None:
        volume = await stage.volume()
        pod = await stage.running(volumes={"/data": volume.id})
        stage.harness.remove(pod.id)
        await stage.is_gone(pod.id)
        await stage.provider.delete_volume(volume.id)

    @story
    async def test_a_pod_with_a_volume_that_is_not_there_is_refused_and_nothing_is_rented(self, stage: Stage) -> None:
        stage.need("volumes")
        before = {pod.id for pod in await stage.listed()}
        with pytest.raises((InvalidSpec, NotFound)):
            await stage.pod(volumes={"/data": stage.harness.missing_id})
        assert {pod.id for pod in await stage.listed()} == before

    @story
    async def test_many_volumes_can_be_made_at_once(self, stage: Stage) -> None:
        stage.need("volumes")
        spec = stage.harness.volume_spec()
        made: list[ObservedVolume] = await asyncio.gather(
            *(stage.provider.create_volume(spec, stage.tag()) for _ in range(10))
        )
        ids = {volume.id for volume in made}
        assert len(ids) == 10
        assert ids <= {volume.id for volume in await stage.another().list_volumes()}
