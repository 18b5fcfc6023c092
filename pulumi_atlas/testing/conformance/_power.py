"""Stop and start: under one id, as often as one likes, and by whoever does it."""

from __future__ import annotations

import pytest

from pulumi_atlas.errors import NotFound
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["OnExitConformance", "StopConformance"]


class StopConformance(Suite):
    """The ability `stop`."""

    @story
    async def test_a_stopped_pod_is_kept_and_starts_again_under_its_id(self, stage: Stage) -> None:
        stage.need("stop")
        pod = await stage.running()
        await stage.provider.stop(pod.id)
        assert (await stage.provider.get_compute(pod.id)).status == "stopped"
        assert pod.id in {seen.id for seen in await stage.listed(status="stopped")}
        await stage.provider.start(pod.id)
        again = await stage.becomes(pod.id, "running")
        assert (again.id, again.birth, again.owner, again.spec) == (pod.id, pod.birth, pod.owner, pod.spec)

    @story
    async def test_stopping_what_is_stopped_and_starting_what_runs_is_done(self, stage: Stage) -> None:
        stage.need("stop")
        pod = await stage.running()
        await stage.provider.start(pod.id)
        assert (await stage.provider.get_compute(pod.id)).status == "running"
        await stage.provider.stop(pod.id)
        await stage.provider.stop(pod.id)
        assert (await stage.provider.get_compute(pod.id)).status == "stopped"

    @story
    async def test_a_pod_stopped_behind_the_providers_back_is_seen_as_stopped_and_starts_again(
        self, stage: Stage
    ) -> None:
        stage.need("stop")
        pod = await stage.running()
        stage.harness.stop(pod.id)
        await stage.becomes(pod.id, "stopped")
        await stage.provider.start(pod.id)
        await stage.becomes(pod.id, "running")

    @story
    async def test_a_killed_pod_starts_again(self, stage: Stage) -> None:
        stage.need("stop")
        pod = await stage.running()
        stage.harness.kill(pod.id)
        await stage.becomes(pod.id, "failed")
        await stage.provider.start(pod.id)
        assert (await stage.becomes(pod.id, "running")).exit_code is None

    @story
    async def test_a_pod_whose_command_has_ended_runs_it_again_when_started(self, stage: Stage) -> None:
        stage.need("stop")
        for code, status in ((0, "finished"), (7, "failed")):
            pod = await stage.ended(code)
            await stage.provider.start(pod.id)
            assert (await stage.becomes(pod.id, status)).exit_code == code

    @story
    async def test_stop_and_start_of_what_is_not_there_raise_not_found(self, stage: Stage) -> None:
        stage.need("stop")
        for act in (stage.provider.stop, stage.provider.start):
            with pytest.raises(NotFound):
                await act(stage.harness.missing_id)

    @story
    async def test_the_urls_are_the_same_after_stop_and_start(self, stage: Stage) -> None:
        stage.need("stop")
        if "ports" not in stage.provider.accepts:
            pytest.skip(f"{stage.harness.name} does not accept ports")
        pod = await stage.running(ports=("8080/http", "9090/tcp"))
        await stage.provider.stop(pod.id)
        await stage.provider.start(pod.id)
        again = await stage.becomes(pod.id, "running")
        if stage.has("stable_urls"):
            assert again.urls == pod.urls


class OnExitConformance(Suite):
    """The ability `on_exit`: what happens when a command ends by itself."""

    @story
    async def test_each_choice_that_is_offered_is_enforced(self, stage: Stage) -> None:
        stage.need("on_exit")
        assert "keep" in stage.provider.on_exit_choices
        wanted = {"keep": "finished", "stop": "stopped"}
        for choice in sorted(stage.provider.on_exit_choices - {"restart"}):
            spec = stage.harness.ending_spec(0).model_copy(update={"on_exit": choice})
            pod = await stage.pod(spec)
            if choice == "terminate":
                await stage.is_gone(pod.id)
            else:
                await stage.becomes(pod.id, wanted[choice])
