"""What the engine asks of a resource fits together: made, read and compared, nothing differs; a change does what was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pulumi_atlas.models import PodArgs
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.rules.diff import same_meaning
from pulumi_atlas.testing import strategies
from tests.properties._engine import CLASSES, Engine, cloud

PLAIN = {"pod": strategies.raw_pods, "volume": strategies.raw_volumes, "endpoint": strategies.raw_endpoints}

#: Arguments that the shared strategies leave out.
MORE: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "pod": st.fixed_dictionaries(
        {},
        optional={
            "ready": st.just({"timeout_s": 5}),
            "provider_options": st.sampled_from([{}, {"exit_code": 3}, {"exit_code": 0}]),
        },
    ),
    "volume": st.fixed_dictionaries({}, optional={"timeouts": st.just({"create_s": 50})}),
    "endpoint": st.fixed_dictionaries(
        {},
        optional={
            "gpu": st.lists(st.sampled_from(["h100", "a100_80g", "l40s"]), unique=True, max_size=2),
            "gpu_count": st.integers(1, 3),
            "image": st.just("me/worker:3"),
            "timeouts": st.just({"update_s": 50}),
        },
    ),
}


def mounted(raw: Mapping[str, Any], many: Mapping[str, str]) -> dict[str, Any]:
    """The arguments with volumes that are there."""
    if "volumes" not in raw:
        return dict(raw)
    return {**raw, "volumes": {path: many[name] for path, name in raw["volumes"].items()}}


def some_volumes() -> dict[str, str]:
    engine = Engine("volume")
    names = [f"vol-{place}" for place in range(4)]
    return {
        name: engine.create(engine.check(None, {"provider": "mock", "size_gb": 1, "name": name})).ident
        for name in names
    }


def possible(raw: Mapping[str, Any]) -> bool:
    """What the mock cloud can rent: a cap that is no obstacle, and one kind of worker."""
    return raw.get("max_cost_per_hour", 100) > 90 and not {"image", "command"} <= raw.keys()


def arguments(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    plain = PLAIN[kind]("mock")
    return st.builds(lambda raw, more: {**raw, **more}, plain, MORE[kind]).map(within_reach).filter(possible)


def within_reach(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "max_cost_per_hour": 1000.0} if "max_cost_per_hour" in raw else raw


@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=30)
@given(data=st.data())
def test_what_was_just_made_shows_no_difference(kind: str, data: st.DataObject) -> None:
    raw = data.draw(arguments(kind), label="arguments")
    with cloud():
        raw = mounted(raw, some_volumes() if raw.get("volumes") else {})
        engine = Engine(kind)
        stored = engine.create(engine.check(None, raw))
        for again in range(2):
            assert engine.unchanged(stored, raw), f"after {again} refreshes"
            respelled = data.draw(strategies.respelled(raw), label="respelled") if kind == "pod" else raw
            assert engine.unchanged(stored, respelled)
            fresh = engine.refresh(stored)
            assert engine.same_inputs(fresh, stored)
            assert fresh.outputs == stored.outputs
            stored = fresh


@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_change_does_what_was_shown(kind: str, data: st.DataObject) -> None:
    """Any arguments to any others: an update succeeds, keeps the id, and leaves nothing to be done."""
    raw = data.draw(arguments(kind), label="arguments")
    other = data.draw(arguments(kind), label="other arguments")
    some = data.draw(st.sets(st.sampled_from(sorted({*raw, *other}))), label="changed")
    wanted = {k: v for k, v in raw.items() if k not in some} | {k: v for k, v in other.items() if k in some}
    assume(kind != "endpoint" or sum(n in wanted for n in ("handler", "command", "image")) == 1)
    assume(kind != "volume" or wanted["size_gb"] >= raw["size_gb"])
    with cloud() as world:
        many = some_volumes() if {"volumes"} & {*raw, *wanted} else {}
        raw, wanted = mounted(raw, many), mounted(wanted, many)
        engine = Engine(kind)
        stored = engine.create(engine.check(None, raw))
        inputs = engine.check(stored, wanted)
        verdict = engine.diff(stored, inputs)
        if verdict.changes is False:
            assert engine.refresh(stored).outputs == stored.outputs
            return
        if verdict.replaces:
            assert set(verdict.replaces) <= some
            return
        before = world.pods.get(stored.ident)
        after = engine.update(stored, inputs)
        assert engine.unchanged(after, wanted)
        fresh = engine.refresh(after)
        assert fresh.outputs == after.outputs
        assert engine.unchanged(fresh, wanted)
        assert fresh.outputs["birth"] == stored.outputs["birth"]
        if kind == "pod" and before is not None:
            assert_restarted_only_for_a_reason(world, stored.ident, before.raw["restarts"], raw, wanted)


def assert_restarted_only_for_a_reason(
    world: World, ident: str, before: int, raw: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    pod = world.pods[ident]
    table = {**MockProvider.compute_changes, **dict.fromkeys(("auth", "auth_generation"), "restart")}  # as env
    different = {
        name for name in PodArgs.model_fields if not same_meaning(PodArgs, name, raw.get(name), wanted.get(name))
    }
    reason = {name for name in different if table.get(name) == "restart"} | ({"trigger", "desired_status"} & different)
    assert (pod.raw["restarts"] == before) or reason
    runs = wanted.get("desired_status", "running") == "running"
    assert pod.status in (("running", "finished") if runs else ("stopped",))


@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_not_known_yet_never_replaces(kind: str, data: st.DataObject) -> None:
    raw = data.draw(arguments(kind), label="arguments")
    hidden = data.draw(st.sets(st.sampled_from(sorted(raw))), label="hidden") - {"provider"}
    with cloud():
        raw = mounted(raw, some_volumes() if raw.get("volumes") else {})
        engine = Engine(kind)
        stored = engine.create(engine.check(None, raw))
        unknown = pulumi.output.Unknown()
        inputs = engine.check(stored, {name: unknown if name in hidden else value for name, value in raw.items()})
        assert not engine.diff(stored, inputs).replaces
