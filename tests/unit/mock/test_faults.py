"""Failures on demand, other accounts, listings that lie, and the record of calls."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from mock_kit import cloud, job, pod, run, tag

from pulumi_atlas.access import Access
from pulumi_atlas.errors import (
    AtlasError,
    ConfigError,
    Kind,
    NoCapacity,
    NotFound,
    RateLimited,
    TransportError,
    UnknownOutcome,
)
from pulumi_atlas.models import ComputeFilter, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.mock import MockProvider
from pulumi_atlas.providers.mock._faults import OPERATIONS

ALL = ComputeFilter()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_any_kind_of_error_can_be_had_once(kind: Any) -> None:
    p = cloud()
    p.world.fail_next("create_compute", kind, retry_after=3.0)
    with pytest.raises(AtlasError) as caught:
        run(p.create_compute(pod(), tag()))
    assert (caught.value.kind, caught.value.operation, caught.value.provider) == (kind, "create_compute", "mock")
    assert p.world.pods == {}
    run(p.create_compute(pod(), tag()))


def test_a_fault_happens_as_often_as_was_said_and_only_where() -> None:
    p = cloud()
    p.world.fail_next("get_compute", "rate_limited", times=2, retry_after=1.5, on="mock-0-p1")
    one, two = run(p.create_compute(pod(), tag())).id, run(p.create_compute(pod(), tag())).id
    run(p.get_compute(two))
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            run(p.get_compute(one))
        assert caught.value.retry_after == 1.5
    run(p.get_compute(one))


def test_a_lost_answer_leaves_its_effect() -> None:
    p = cloud()
    mark = tag()
    p.world.fail_next("create_compute", after_effect=True)
    with pytest.raises(UnknownOutcome):
        run(p.create_compute(pod(), mark))
    (made,) = p.world.pods.values()
    assert made.birth == mark.birth
    p.world.fail_next("terminate", "transport", after_effect=True)
    with pytest.raises(TransportError):
        run(p.terminate(made.id))
    assert p.world.pods == {}
    p.world.fail_next("list_compute", after_effect=True)
    with pytest.raises(TransportError):
        run(p.list_compute(ALL))


def test_a_lost_answer_hides_a_refusal_too() -> None:
    p = cloud()
    p.world.fail_next("create_compute", after_effect=True)
    with pytest.raises(UnknownOutcome):
        run(p.create_compute(pod(gpu=("nonsense",)), tag()))
    assert p.world.pods == {}


def test_each_operation_can_fail() -> None:
    p = cloud()
    volume = run(p.create_volume(VolumeSpec(size_gb=1), tag())).id
    one = run(p.create_compute(pod(), tag())).id
    e = run(p.create_endpoint(EndpointSpec(handler="a:b"), tag())).id
    j = run(p.run_job(job(e))).id

    async def first(stream: Any) -> Any:
        async for item in stream:
            return item
        return None

    calls = {
        "cancel_job": lambda: p.cancel_job(e, j),
        "create_compute": lambda: p.create_compute(pod(), tag()),
        "create_endpoint": lambda: p.create_endpoint(EndpointSpec(handler="a:b"), tag()),
        "create_volume": lambda: p.create_volume(VolumeSpec(size_gb=1), tag()),
        "delete_endpoint": lambda: p.delete_endpoint(e),
        "delete_volume": lambda: p.delete_volume(volume),
        "endpoint_health": lambda: p.endpoint_health(e),
        "get_compute": lambda: p.get_compute(one),
        "get_endpoint": lambda: p.get_endpoint(e),
        "get_job": lambda: p.get_job(e, j),
        "get_volume": lambda: p.get_volume(volume),
        "identity": p.identity,
        "list_compute": lambda: p.list_compute(ALL),
        "list_endpoints": p.list_endpoints,
        "list_offers": p.list_offers,
        "list_volumes": p.list_volumes,
        "logs": lambda: first(p.logs(one)),
        "retag": lambda: p.retag("pod", one, tag()),
        "run_job": lambda: p.run_job(job(e)),
        "start": lambda: p.start(one),
        "stop": lambda: p.stop(one),
        "stream_job": lambda: first(p.stream_job(e, j)),
        "terminate": lambda: p.terminate(one),
        "update_compute": lambda: p.update_compute(one, pod(), restart=False),
        "update_endpoint": lambda: p.update_endpoint(e, EndpointSpec(handler="a:b"), restart=False),
        "update_volume": lambda: p.update_volume(volume, VolumeSpec(size_gb=2)),
    }
    assert set(calls) == OPERATIONS
    before = (p.world.pods, p.world.volumes, p.world.endpoints, p.world.jobs)
    for operation, call in calls.items():
        p.world.fail_next(operation, "forbidden")
        with pytest.raises(AtlasError) as caught:
            run(call())
        assert (caught.value.kind, caught.value.operation) == ("forbidden", operation)
    assert (p.world.pods, p.world.volumes, p.world.endpoints, p.world.jobs) == before


def test_in_an_outage_nothing_answers_and_nothing_is_lost() -> None:
    p = cloud()
    one = run(p.create_compute(pod(), tag())).id
    with p.world.outage():
        for act in (lambda: p.get_compute(one), lambda: p.list_compute(ALL), p.identity, lambda: p.terminate(one)):
            with pytest.raises(TransportError):
                run(act())
    assert run(p.get_compute(one)).status == "running"


def test_faults_can_be_taken_back() -> None:
    p = cloud()
    p.world.fail_next("*", "forbidden", times=None)
    p.world.clear_faults()
    run(p.identity())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"operation": "create_pod"}, "there is no operation 'create_pod'"),
        ({"operation": "stop", "kind": "no_capacty"}, "there is no kind of error 'no_capacty'"),
        ({"operation": "stop", "times": 0}, "at least once"),
    ],
)
def test_a_misspelt_fault_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        cloud().world.fail_next(**given)
    assert caught.value.hint


def test_an_unknown_setting_of_the_world_is_refused() -> None:
    with pytest.raises(ConfigError, match="no setting 'capacities'"):
        cloud().world.configure(capacities={})


def test_another_account_sees_nothing_and_says_who_it_is() -> None:
    p = cloud()
    volume = run(p.create_volume(VolumeSpec(size_gb=1), tag())).id
    one = run(p.create_compute(pod(), tag())).id
    e = run(p.create_endpoint(EndpointSpec(handler="a:b"), tag())).id
    p.world.switch_account("other")
    assert run(p.identity()) == "mock:other"
    for act in (
        lambda: p.get_compute(one),
        lambda: p.terminate(one),
        lambda: p.get_volume(volume),
        lambda: p.get_endpoint(e),
        lambda: p.create_compute(pod(volumes={"/d": volume}), tag()),
    ):
        with pytest.raises((NotFound, AtlasError), match="there is no"):
            run(act())
    listing = run(p.list_compute(ALL))
    assert (len(listing), listing.account, listing.complete) == (0, "mock:other", True)
    p.world.switch_account(None)
    assert run(p.get_compute(one)).account == "mock:default"


def test_named_accounts_are_apart_in_one_world() -> None:
    a = cloud()
    b = MockProvider(Access("mock", "team-b"), world=a.world)
    made = run(b.create_compute(pod(), tag()))
    assert made.account == "mock:team-b"
    with pytest.raises(NotFound):
        run(a.get_compute(made.id))


def test_a_listing_can_be_incomplete_or_lag() -> None:
    p = cloud()
    one, two = run(p.create_compute(pod(), tag())).id, run(p.create_compute(pod(), tag())).id
    p.world.configure(listing_complete=False, hidden=[one])
    listing = run(p.list_compute(ALL))
    assert ([c.id for c in listing], listing.complete) == ([two], False)
    assert not run(p.list_volumes()).complete
    p.world.configure(listing_complete=True, hidden=[], listing_lag_s=5.0)
    assert len(run(p.list_compute(ALL))) == 0
    assert run(p.get_compute(one)).id == one
    p.world.advance(5)
    assert len(run(p.list_compute(ALL))) == 2


def test_calls_are_recorded_without_secrets() -> None:
    p = cloud()
    p.world.fail_next("create_compute", "no_capacity")
    spec = pod(env={"TOKEN": "s3cret"}, name="x", provider_options={"exit_code": 1})
    with pytest.raises(NoCapacity):
        run(p.create_compute(spec, tag()))
    one = run(p.create_compute(spec, tag())).id
    run(p.stop(one))
    assert [call.operation for call in p.world.calls()] == ["create_compute", "create_compute", "stop"]
    (stopped,) = p.world.calls("stop")
    assert (stopped.account, stopped.arguments) == ("mock:default", {"pod_id": one})
    made = p.world.calls("create_compute")[0].arguments["spec"]
    assert (made["env"], made["name"], made["provider_options"]) == ({"TOKEN": "***"}, "x", {"exit_code": 1})
    assert "s3cret" not in repr(p.world.calls())
    p.world.clear_calls()
    assert p.world.calls() == []
