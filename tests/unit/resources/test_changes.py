"""What an update does to a pod, volume or endpoint, against what was shown, and after runs that failed half-way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pulumi_atlas.providers.mock import World
from pulumi_atlas.resources.fresh import fresh_process
from tests.properties._engine import Engine, cloud

POD: dict[str, Any] = {"provider": "mock", "command": ["serve"], "timeouts": {"update_s": 0.5}}
ENDPOINT: dict[str, Any] = {"provider": "mock", "handler": "app:run"}


@pytest.fixture
def world() -> Iterator[World]:
    with cloud() as one:
        yield one


@pytest.mark.parametrize("change", [{"env": {"A": "2"}}, {"trigger": 2}])
def test_a_stopped_pod_that_is_changed_stays_stopped(world: World, change: dict[str, Any]) -> None:
    engine = Engine("pod")
    raw = {**POD, "desired_status": "stopped"}
    stored = engine.changed(engine.made(raw), {**raw, **change})
    assert stored.outputs["status"] == "stopped"
    assert world.pods[stored.ident].raw["restarts"] == 0
    assert engine.unchanged(stored, {**raw, **change})


def test_a_pod_that_is_changed_and_stopped_at_once_is_not_started_on_the_way(world: World) -> None:
    engine = Engine("pod")
    stored = engine.changed(engine.made(POD), {**POD, "env": {"A": "2"}, "desired_status": "stopped"})
    assert stored.outputs["status"] == "stopped"
    assert world.pods[stored.ident].raw["restarts"] == 0


def test_a_restart_that_failed_half_way_is_finished_by_the_next_run(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    wanted = {**POD, "trigger": 2}
    world.fail_next("start", "no_capacity")
    with pytest.raises(Exception, match="no_capacity"):
        engine.changed(stored, wanted)
    assert world.pods[stored.ident].status == "stopped"
    again = engine.changed(stored, wanted)
    assert again.outputs["status"] == "running"


def test_a_changed_pod_that_was_stopped_meanwhile_runs_after_the_update(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    world.set_status(stored.ident, "stopped")
    assert engine.changed(stored, {**POD, "env": {"A": "2"}}).outputs["status"] == "running"


def test_an_update_of_a_pod_that_is_terminated_says_so(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    world.set_status(stored.ident, "terminated")
    with pytest.raises(Exception, match=r"not_found.*--refresh"):
        engine.changed(stored, {**POD, "timeouts": {"update_s": 7}})


def test_an_update_of_a_pod_that_was_removed_says_so(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    world.remove(stored.ident)
    with pytest.raises(Exception, match=r"not_found.*--refresh"):
        engine.changed(stored, {**POD, "env": {"A": "2"}})


def test_a_pod_that_stopped_itself_after_a_good_end_is_not_run_again(world: World) -> None:
    """`on_exit="stop"` saves money after a training; a refresh must not begin it anew."""
    engine = Engine("pod")
    raw = {**POD, "on_exit": "stop"}
    stored = engine.made(raw)
    world.finish(stored.ident, 0)
    fresh = engine.refresh(stored)
    assert fresh.outputs["status"] == "stopped"
    assert engine.same_inputs(fresh, stored)
    assert engine.unchanged(fresh, raw)


def test_a_pod_that_stopped_itself_after_a_bad_end_is_drift(world: World) -> None:
    engine = Engine("pod")
    raw = {**POD, "on_exit": "stop"}
    stored = engine.made(raw)
    world.finish(stored.ident, 3)
    fresh = engine.refresh(stored)
    assert fresh.inputs["desired_status"] == "stopped"
    assert not engine.unchanged(fresh, raw)


def test_the_kind_of_cloud_is_changed_in_place_only_when_the_pod_may_be_there_already(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made({**POD, "cloud_type": "any"})
    wanted = {**POD, "cloud_type": "secure", "env": {"A": "2"}}
    assert not engine.diff(stored, engine.check(stored, wanted)).replaces
    stored = engine.changed(stored, wanted)
    assert engine.diff(stored, engine.check(stored, {**POD, "cloud_type": "community"})).replaces == ["cloud_type"]


def test_other_gpus_of_an_endpoint_are_what_the_providers_table_says(world: World) -> None:
    engine = Engine("endpoint")
    with_gpu = {**ENDPOINT, "gpu": ["h100"]}
    stored = engine.made(with_gpu)
    assert engine.diff(stored, engine.check(stored, ENDPOINT)).replaces == ["gpu"]
    more = {**ENDPOINT, "gpu": ["h100", "l40s"]}
    assert engine.diff(stored, engine.check(stored, more)).replaces == ["gpu"]


def test_a_volume_that_would_shrink_is_refused_at_preview(world: World) -> None:
    engine = Engine("volume")
    stored = engine.made({"provider": "mock", "size_gb": 20})
    (failure,) = engine.checked(stored, {"provider": "mock", "size_gb": 10}).failures
    assert "size_gb: cannot shrink from 20 to 10" in failure.reason
    elsewhere = {"provider": "mock", "size_gb": 10, "region": "elsewhere"}
    assert engine.diff(stored, engine.check(stored, elsewhere)).replaces == ["region"]


def test_what_the_state_has_lost_is_told_of_when_it_is_made_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `pulumi state delete`: the old pod costs money, and nobody else will say so."""
    engine = Engine("pod")
    lost = engine.made(POD)
    engine.refresh(lost)  # so that its note is closed
    capsys.readouterr()
    with fresh_process():
        made = Engine("pod").made(POD)
    assert f"`atlas compute terminate {lost.ident} --provider mock`" in capsys.readouterr().out
    assert set(world.pods) == {lost.ident, made.ident}


def test_a_replacement_says_nothing_of_what_it_replaces(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    with fresh_process():
        engine = Engine("pod")
        assert engine.diff(stored, engine.check(stored, {**POD, "gpu_count": 2})).replaces
        engine.made({**POD, "gpu_count": 2})
    assert "atlas compute" not in capsys.readouterr().out
    assert len(world.pods) == 2
