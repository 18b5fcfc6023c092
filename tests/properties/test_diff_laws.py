"""Differences: what means the same never differs, an unknown replaces nothing, and the tables decide the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pulumi_atlas.models import ComputeSpec, EndpointArgs, PodArgs, VolumeArgs
from pulumi_atlas.providers import registry
from pulumi_atlas.rules.diff import PLACEMENT, Plan, plan_endpoint, plan_pod, plan_volume
from pulumi_atlas.testing import strategies as ours

TABLES = st.sampled_from([registry.load("mock").compute_changes, registry.load("local").compute_changes, {}])
ISSUED = {"token": "t", "signing_key": "k", "signing_kid": "i"}
LIVE = {"status": "running", **ISSUED}
WORKERS = {"workers": {"min": 0, "max": 1, "idle_timeout_s": 30}, "max_retries": 2, "env": {}, "gpu_count": 1}


@given(data=st.data(), raw=ours.raw_pods(), table=TABLES)
def test_respelling_a_pod_changes_nothing(data: st.DataObject, raw: dict[str, Any], table: Mapping[str, str]) -> None:
    old, new = data.draw(ours.respelled(raw)), data.draw(ours.respelled(raw))
    plan = plan_pod({**old, **_live(raw)}, new, table, can_stop=True)
    assert plan.is_empty, plan


@given(data=st.data(), raw=ours.raw_volumes())
def test_respelling_a_volume_changes_nothing(data: st.DataObject, raw: dict[str, Any]) -> None:
    assert plan_volume(raw, data.draw(ours.respelled(raw, {"provider_options": {}})), {}).is_empty


@given(data=st.data(), raw=ours.raw_endpoints())
def test_respelling_an_endpoint_changes_nothing(data: st.DataObject, raw: dict[str, Any]) -> None:
    new = data.draw(ours.respelled(raw, WORKERS))
    assert plan_endpoint({**raw, "status": "ready"}, new, {}).is_empty


@given(data=st.data(), old=ours.raw_pods(), new=ours.raw_pods(), table=TABLES)
def test_an_unknown_never_causes_a_replacement(
    data: st.DataObject, old: dict[str, Any], new: dict[str, Any], table: Mapping[str, str]
) -> None:
    hidden = data.draw(ours.with_unknowns({**old, **new}, keep=()))
    known = plan_pod({**old, **LIVE}, {**old, **new}, table, can_stop=True)
    plan = plan_pod({**old, **LIVE}, hidden, table, can_stop=True)
    assert set(plan.replaces) <= set(known.replaces)


@given(data=st.data(), raw=ours.raw_pods(), table=TABLES)
def test_unknowns_in_an_unchanged_program_replace_nothing_and_do_not_touch_power(
    data: st.DataObject, raw: dict[str, Any], table: Mapping[str, str]
) -> None:
    hidden = data.draw(ours.with_unknowns(raw, keep=()))
    plan = plan_pod({**raw, **_live(raw)}, hidden, table, can_stop=True)
    assert not plan.replaces
    assert plan.power in (None, "start") if "desired_status" in raw else plan.power is None


@given(old=ours.raw_pods(), new=ours.raw_pods(), table=TABLES)
def test_the_table_says_what_a_change_of_a_pod_asks_for(
    old: dict[str, Any], new: dict[str, Any], table: Mapping[str, str]
) -> None:
    plan = plan_pod({**old, **LIVE}, new, table, can_stop=True)
    before, after = PodArgs.model_validate(old), PodArgs.model_validate(new)
    changed = {name for name in PodArgs.model_fields if getattr(before, name) != getattr(after, name)}
    assert plan.changed == changed
    told = {name for name in changed & set(ComputeSpec.model_fields) if name not in PLACEMENT}
    guarded = before.auth is not None or after.auth is not None
    told |= changed & {"auth", "auth_generation"} if guarded else set()
    costs = {**table, "auth": table.get("env", "replace"), "auth_generation": table.get("env", "replace")}
    assert {name for name in told if costs.get(name, "replace") == "replace"} == set(plan.replaces) - PLACEMENT
    assert plan.spec_changes == any(costs.get(name, "replace") != "replace" for name in told)
    restarts = any(costs.get(name) == "restart" for name in told) or "trigger" in changed
    assert plan.restart == restarts


@given(raw=ours.raw_pods(), status=st.sampled_from(["provisioning", "running", "stopped", "finished", "failed"]))
def test_power_follows_what_is_wanted_and_what_is(raw: dict[str, Any], status: str) -> None:
    plan = plan_pod({**raw, **ISSUED, "status": status}, raw, {}, can_stop=True)
    wanted = raw.get("desired_status", "running")
    expected = {
        ("running", "stopped"): "start",
        ("running", "failed"): "start",
        ("stopped", "running"): "stop",
        ("stopped", "provisioning"): "stop",
    }.get((wanted, status))
    assert plan.power == expected
    assert plan.is_empty == (expected is None)
    assert plan.unseen == (expected is not None)


@given(raw=ours.raw_pods(), status=st.sampled_from(["stopped", "failed", "running"]))
def test_a_provider_that_cannot_stop_replaces_in_place_of_power(raw: dict[str, Any], status: str) -> None:
    plan = plan_pod({**raw, "status": status}, raw, {}, can_stop=False)
    assert ("desired_status" in plan.replaces) == (plan.power is not None)


@given(old=ours.raw_pods(), new=ours.raw_pods(), field=st.sampled_from(sorted(PLACEMENT)))
def test_a_placement_that_the_pod_still_meets_replaces_nothing(
    old: dict[str, Any], new: dict[str, Any], field: str
) -> None:
    assume(field in new)
    old = {name: value for name, value in old.items() if name != "cloud_type"}  # it may be of any kind
    changed = {**old, field: new[field]}
    met = {**old, **LIVE, **_meets(changed)}
    assert field not in plan_pod(met, changed, {}, can_stop=True).replaces


@given(raw=ours.raw_pods(), auth=st.sampled_from(["bearer", "signed_url", "preshared"]), table=TABLES)
def test_a_guarded_pod_of_which_nothing_issued_is_known_gets_it(
    raw: dict[str, Any], auth: str, table: Mapping[str, str]
) -> None:
    """As after an import; the comparison of inputs does not show it."""
    raw = {**raw, "auth": auth}
    plan = plan_pod({**raw, **_live(raw), "token": None}, raw, table, can_stop=True)
    assert plan.unseen
    assert plan.spec_changes == ("env" in table) != ("auth" in plan.replaces)


@given(raw=ours.raw_pods(), rise=st.floats(0.01, 1000))
def test_a_price_rise_alone_is_never_acted_on(raw: dict[str, Any], rise: float) -> None:
    old = {**raw, **_live(raw), "cost_per_hour": (raw.get("max_cost_per_hour") or 1.0) + rise}
    assert plan_pod(old, raw, {}, can_stop=True).is_empty


@given(raw=ours.raw_volumes(), more=st.integers(1, 100))
def test_a_volume_grows_as_its_table_says(raw: dict[str, Any], more: int) -> None:
    new = {**raw, "size_gb": raw["size_gb"] + more}
    assert plan_volume(raw, new, {"size_gb": "in_place"}) == Plan(frozenset({"size_gb"}), (), True, False)
    assert plan_volume(raw, new, {}).replaces == ("size_gb",)


@given(raw=ours.raw_endpoints(), status=st.sampled_from(["failed", "stopped"]))
def test_an_endpoint_that_no_longer_serves_is_started_again(raw: dict[str, Any], status: str) -> None:
    plan = plan_endpoint({**raw, "status": status}, raw, {})
    assert (plan.power, plan.restart, plan.unseen) == ("start", True, True)


@given(raw=ours.raw_pods())
def test_another_provider_or_account_is_another_pod(raw: dict[str, Any]) -> None:
    assert plan_pod({**raw, **LIVE}, {**raw, "provider": "local"}, {}, can_stop=True).replaces == ("provider",)
    assert plan_pod({**raw, **LIVE}, {**raw, "account": "b"}, {}, can_stop=True).replaces == ("account",)


def test_the_models_of_the_tables_are_those_of_the_resources() -> None:
    for name in ("mock", "local"):
        provider: Any = registry.load(name)
        assert set(provider.compute_changes) <= set(PodArgs.model_fields)
        assert set(provider.volume_changes) <= set(VolumeArgs.model_fields)
        assert set(provider.endpoint_changes) <= set(EndpointArgs.model_fields)


def _live(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": "stopped" if raw.get("desired_status") == "stopped" else "running", **ISSUED}


def _meets(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What the provider shows of a pod that was placed as asked."""
    regions, cap = raw.get("regions"), raw.get("max_cost_per_hour")
    return {
        **({"gpu_name": raw["gpu"][-1]} if raw.get("gpu") else {}),
        **({"region": regions[0]} if regions else {"region": "anywhere"}),
        **({"cost_per_hour": cap * 0.5} if cap else {}),
    }
