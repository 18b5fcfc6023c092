"""Pods: what is created is there, carries its tag, is listed, is found by filters, and goes when it is terminated."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pulumi_atlas.errors import NotFound, UnknownOutcome
from pulumi_atlas.models import Compute, ComputeFilter
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["ComputeConformance"]

_MANY = 20
_FILTERS = ("status", "name", "region", "gpu")


class ComputeConformance(Suite):
    """Create, get, list, terminate."""

    @story
    async def test_what_is_created_is_shown_by_get_and_by_list_and_gone_after_terminate(self, stage: Stage) -> None:
        made = await stage.pod()
        assert made.id
        assert made.status in ("provisioning", "running")
        await stage.becomes(made.id, "running")
        await stage.appears(made.id)
        assert stage.harness.exists(made.id)
        await stage.provider.terminate(made.id)
        await stage.is_gone(made.id)
        assert not stage.harness.exists(made.id)

    @story
    async def test_birth_owner_and_name_come_back_from_create_get_and_list(self, stage: Stage) -> None:
        tag = stage.tag()
        made = await stage.provider.create_compute(stage.harness.spec(name="conformance-1"), tag)
        await stage.appears(made.id)
        seen = [
            made,
            await stage.provider.get_compute(made.id),
            *[pod for pod in await stage.listed() if pod.id == made.id],
        ]
        assert len(seen) == 3
        for pod in seen:
            assert (pod.birth, pod.owner) == (tag.birth, tag.owner)
        if "name" in stage.provider.accepts:
            assert {pod.name for pod in seen} == {"conformance-1"}

    @story
    async def test_the_spec_that_is_shown_is_the_spec_that_was_asked_for(self, stage: Stage) -> None:
        spec = stage.harness.spec(name="conformance-2")
        made = await stage.pod(spec)
        shown = (await stage.provider.get_compute(made.id)).spec
        if shown is None:
            pytest.skip(f"{stage.harness.name} does not show a pod's spec")
        assert shown == spec

    @story
    async def test_two_creates_make_two_pods_even_with_one_name(self, stage: Stage) -> None:
        first, second = await stage.pod(name="twin"), await stage.pod(name="twin")
        assert first.id != second.id
        await stage.appears(first.id, second.id)

    @story
    async def test_no_create_makes_more_than_it_says(self, stage: Stage) -> None:
        before = {pod.id for pod in await stage.listed()}
        pod = await stage.running()
        await stage.appears(pod.id)
        assert {seen.id for seen in await stage.listed()} - before == {pod.id}

    @story
    async def test_terminate_of_one_pod_leaves_the_others(self, stage: Stage) -> None:
        first, second = await stage.running(), await stage.running()
        await stage.provider.terminate(first.id)
        await stage.is_gone(first.id)
        assert (await stage.provider.get_compute(second.id)).status == "running"
        await stage.appears(second.id)

    @story
    async def test_terminate_of_what_is_not_there_raises_not_found(self, stage: Stage) -> None:
        with pytest.raises(NotFound):
            await stage.provider.terminate(stage.harness.missing_id)

    @story
    async def test_terminate_may_be_repeated(self, stage: Stage) -> None:
        pod = await stage.pod()
        await stage.provider.terminate(pod.id)
        with contextlib.suppress(NotFound):  # or not: a pod still shown as terminated may be terminated again
            await stage.provider.terminate(pod.id)
        await stage.is_gone(pod.id)

    @story
    async def test_terminate_ends_a_pod_in_whatever_state_it_is(self, stage: Stage) -> None:
        pods = [await stage.pod(), await stage.ended(0), await stage.ended(7)]
        if stage.has("stop"):
            stopped = await stage.running()
            await stage.provider.stop(stopped.id)
            pods.append(stopped)
        for pod in pods:
            await stage.provider.terminate(pod.id)
            await stage.is_gone(pod.id)

    @story
    async def test_a_pod_removed_behind_the_providers_back_is_not_found_and_not_listed(self, stage: Stage) -> None:
        pod = await stage.running()
        stage.harness.remove(pod.id)
        await stage.is_gone(pod.id)
        with pytest.raises(NotFound):
            await stage.provider.terminate(pod.id)

    @story
    async def test_a_pod_killed_behind_the_providers_back_is_seen_as_failed(self, stage: Stage) -> None:
        pod = await stage.running()
        stage.harness.kill(pod.id)
        seen = await stage.becomes(pod.id, "failed")
        assert seen.exit_code != 0
        assert [p.status for p in await stage.listed() if p.id == pod.id] == ["failed"]

    @story
    async def test_the_way_a_command_ended_is_seen(self, stage: Stage) -> None:
        well, badly = await stage.ended(0), await stage.ended(7)
        assert (well.status, well.exit_code) == ("finished", 0)
        assert (badly.status, badly.exit_code) == ("failed", 7)
        assert badly.reason
        running = await stage.running()
        assert running.exit_code is None

    @story
    async def test_each_filter_lets_through_exactly_what_matches(self, stage: Stage) -> None:
        pods = [await stage.running(name="one"), await stage.running(name="two")]
        await stage.appears(*(pod.id for pod in pods))
        everything = list(await stage.provider.list_compute(ComputeFilter()))
        for field in _FILTERS:
            values = {getattr(pod, field) for pod in everything} - {None}
            for value in values | {"running" if field == "status" else "no-such-value"}:
                wanted = ComputeFilter(**{field: value})
                found = {pod.id for pod in await stage.provider.list_compute(wanted)}
                assert found == {pod.id for pod in everything if wanted.matches(pod)}, f"{field}={value}"
        both = ComputeFilter(name="one", status="running")
        assert pods[0].id in {pod.id for pod in await stage.provider.list_compute(both)}
        assert not list(await stage.provider.list_compute(ComputeFilter(name="one", status="stopped")))

    @story
    async def test_a_listing_shows_the_pods_of_others_too(self, stage: Stage) -> None:
        mine, theirs = await stage.pod(), stage.harness.make_foreign()
        await stage.appears(mine.id, theirs)
        found = {pod.id: pod for pod in await stage.listed()}
        assert found[mine.id].owner == stage.owner
        assert found[theirs].owner != stage.owner
        await stage.provider.terminate(mine.id)
        assert stage.harness.exists(theirs)

    @story
    async def test_a_listing_says_whether_it_is_complete_and_whose_it_is(self, stage: Stage) -> None:
        listing = await stage.provider.list_compute(ComputeFilter())
        assert listing.complete
        assert listing.account == await stage.provider.identity()

    @story
    async def test_two_instances_see_the_same_world(self, stage: Stage) -> None:
        other = stage.another()
        pod = await stage.running()
        await stage.appears(pod.id)
        assert (await other.get_compute(pod.id)).birth == pod.birth
        assert pod.id in {seen.id for seen in await stage.listed(other)}
        await other.terminate(pod.id)
        await stage.is_gone(pod.id)

    @story
    async def test_many_creates_at_once_make_as_many_pods(self, stage: Stage) -> None:
        providers = [stage.provider, stage.another()]

        async def create(place: int) -> Compute:
            made: Compute = await providers[place % 2].create_compute(
                stage.harness.spec(name=f"many-{place}"), stage.tag()
            )
            return made

        pods = await asyncio.gather(*(create(place) for place in range(_MANY)))
        assert len({pod.id for pod in pods}) == _MANY
        assert len({pod.birth for pod in pods}) == _MANY
        await stage.appears(*(pod.id for pod in pods))
        await asyncio.gather(*(stage.provider.terminate(pod.id) for pod in pods))
        for pod in pods:
            await stage.is_gone(pod.id)

    @story
    async def test_a_create_whose_answer_is_lost_makes_at_most_one_pod_and_says_so(self, stage: Stage) -> None:
        tag = stage.tag()
        with stage.harness.lost_answer(), pytest.raises(UnknownOutcome):
            await stage.provider.create_compute(stage.harness.spec(), tag)
        if stage.provider.listing_lag_s:
            await stage.harness.pause(stage.provider.listing_lag_s)
        assert len([pod for pod in await stage.listed() if pod.birth == tag.birth]) <= 1
