"""Updates: the table of changes is the truth, and nothing that was asked for is dropped in silence."""

from __future__ import annotations

import pytest

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.rules.diff import PLACEMENT
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["UpdateConformance"]


class UpdateConformance(Suite):
    """The ability `update`."""

    @story
    async def test_each_change_of_the_table_keeps_the_id_and_is_shown(self, stage: Stage) -> None:
        stage.need("update")
        table = stage.provider.compute_changes
        assert set(table) <= set(stage.provider.accepts) & set(ComputeSpec.model_fields)
        for field, value in stage.harness.examples(table).items():
            pod = await stage.running()
            spec = stage.harness.spec(**{field: value})
            assert getattr(spec, field) != getattr(stage.harness.spec(), field), f"{field}: not another value"
            answer = await stage.provider.update_compute(pod.id, spec, restart=table[field] == "restart")
            shown = await stage.becomes(pod.id, "running", "finished", "stopped")
            assert (answer.id, shown.id, shown.birth, shown.owner) == (pod.id, pod.id, pod.birth, pod.owner), field
            if shown.spec is not None:
                assert getattr(shown.spec, field) == getattr(spec, field), field
            await stage.provider.terminate(pod.id)

    @story
    async def test_a_change_that_asks_for_a_new_pod_is_done_or_refused_but_never_dropped(self, stage: Stage) -> None:
        stage.need("update")
        table = stage.provider.compute_changes
        fields = [f for f in stage.provider.accepts - PLACEMENT if table.get(f, "replace") == "replace"]
        for field in sorted(fields):
            value = stage.harness.changed(field)
            if value is None:
                continue
            pod = await stage.running()
            spec = stage.harness.spec(**{field: value})
            try:
                await stage.provider.update_compute(pod.id, spec, restart=True)
            except AtlasError as error:
                assert error.kind in ("conflict", "validation", "unsupported"), field
                assert (await stage.provider.get_compute(pod.id)).status == "running", field
            else:
                shown = (await stage.provider.get_compute(pod.id)).spec
                assert shown is None or getattr(shown, field) == getattr(spec, field), field

    @story
    async def test_an_update_of_a_stopped_pod_takes_effect_when_it_starts(self, stage: Stage) -> None:
        stage.need("update")
        stage.need("stop")
        if stage.provider.compute_changes.get("env", "replace") == "replace":
            pytest.skip(f"{stage.harness.name} does not change env")
        pod = await stage.running()
        await stage.provider.stop(pod.id)
        spec = stage.harness.spec(env={"CHANGED": "1"})
        await stage.provider.update_compute(pod.id, spec, restart=True)
        assert (await stage.provider.get_compute(pod.id)).status == "stopped"
        await stage.provider.start(pod.id)
        shown = await stage.becomes(pod.id, "running")
        assert shown.spec is None or shown.spec.env == {"CHANGED": "1"}

    @story
    async def test_an_update_to_the_same_spec_changes_nothing(self, stage: Stage) -> None:
        stage.need("update")
        pod = await stage.running()
        await stage.provider.update_compute(pod.id, stage.harness.spec(), restart=False)
        shown = await stage.provider.get_compute(pod.id)
        assert (shown.id, shown.status, shown.spec, shown.urls) == (pod.id, "running", pod.spec, pod.urls)

    @story
    async def test_an_update_of_what_is_not_there_raises_not_found(self, stage: Stage) -> None:
        stage.need("update")
        with pytest.raises(NotFound):
            await stage.provider.update_compute(stage.harness.missing_id, stage.harness.spec(), restart=False)
