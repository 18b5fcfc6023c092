"""Pods of the mock cloud: a life, capacity and price, and what a test does behind the provider's back."""

from __future__ import annotations

import pytest
from mock_kit import cloud, pod, run, tag

from pulumi_atlas import gpus
from pulumi_atlas.access import Access
from pulumi_atlas.errors import ConfigError, Conflict, InvalidSpec, NoCapacity, NotFound
from pulumi_atlas.models import ComputeFilter
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES, Provider, abilities
from pulumi_atlas.providers.mock import MockProvider, World

ALL = ComputeFilter()


def test_it_has_every_ability_that_makes_sense() -> None:
    assert set(ABILITIES) - set(abilities(MockProvider)) == {"templates", "registry_credentials", "reach"}
    assert {"templates", "registry_credentials", "template_id"} == set(MockProvider.reasons)
    assert registry.load("mock") is MockProvider
    assert isinstance(cloud(), Provider)
    for ability in abilities(MockProvider):
        assert isinstance(cloud(), ABILITIES[ability][0])


def test_a_created_pod_shows_what_was_asked_for() -> None:
    p, mark = cloud(), tag()
    spec = pod(name="web", gpu=("h100",), gpu_count=2, image="me/x", ports=("8888", "22/tcp"), env={"A": "b"})
    made = run(p.create_compute(spec, mark))
    assert made.spec == spec
    assert (made.status, made.gpu, made.gpu_count, made.image, made.name) == ("running", "h100", 2, "me/x", "web")
    assert (made.birth, made.owner) == (mark.birth, mark.owner)
    assert made.cost_per_hour == pytest.approx(2 * 2.99)
    assert made.account == "mock:default" == run(p.identity())
    assert run(p.get_compute(made.id)) == made
    assert list(run(p.list_compute(ALL))) == [made]
    assert "b" not in repr(made.raw)


def test_the_same_calls_make_the_same_world() -> None:
    def story() -> list[str]:
        p = cloud()
        mark = tag()
        pods = [run(p.create_compute(pod(gpu=("l4",)), mark)) for _ in range(3)]
        run(p.terminate(pods[0].id))
        return [f"{c.id} {c.created_at} {c.cost_per_hour}" for c in run(p.list_compute(ALL))]

    assert story() == story()
    assert story()[0].startswith("mock-0-p2 2026-01-01")


def test_urls_follow_from_the_id_alone_and_never_change() -> None:
    p = cloud()
    made = run(p.create_compute(pod(ports=("8888/http", "22/tcp")), tag()))
    assert made.urls == {
        "8888": f"https://{made.id}-8888.mock.local",
        "22": f"tcp://{made.id}.mock.local:22",
    }
    assert MockProvider.pod_urls(made.id, made.spec.ports) == made.urls
    run(p.stop(made.id))
    assert run(p.get_compute(made.id)).urls == made.urls
    for foreign in ("pod-1", "mock-0-e1", "mock-0-p1x", ""):
        with pytest.raises(ValueError, match="not an id"):
            MockProvider.pod_urls(foreign, made.spec.ports)


def test_a_pod_is_provisioning_until_the_worlds_clock_says_otherwise() -> None:
    p = cloud(ATLAS_MOCK_PROVISION_S="5")
    made = run(p.create_compute(pod(), tag()))
    assert (made.status, made.public_ip) == ("provisioning", None)
    p.world.advance(4.9)
    assert run(p.get_compute(made.id)).status == "provisioning"
    p.world.advance(0.2)
    assert run(p.get_compute(made.id)).status == "running"
    p.world.configure(provision_s=2.0)
    run(p.stop(made.id))
    run(p.start(made.id))
    assert run(p.get_compute(made.id)).status == "provisioning"


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_provisioning_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="ATLAS_MOCK_PROVISION_S"):
        run(cloud(ATLAS_MOCK_PROVISION_S=text).create_compute(pod(), tag()))


def test_stop_and_start_may_be_repeated() -> None:
    p = cloud()
    ident = run(p.create_compute(pod(gpu=("l4",)), tag())).id
    for _ in range(2):
        run(p.stop(ident))
        stopped = run(p.get_compute(ident))
        assert (stopped.status, stopped.cost_per_hour) == ("stopped", 0.0)
    for _ in range(2):
        run(p.start(ident))
        assert run(p.get_compute(ident)).status == "running"
    assert run(p.get_compute(ident)).raw["restarts"] == 1


def test_terminate_really_removes() -> None:
    p = cloud()
    ident = run(p.create_compute(pod(), tag())).id
    run(p.terminate(ident))
    for act in (p.get_compute, p.stop, p.start, p.terminate):
        with pytest.raises(NotFound, match=ident) as caught:
            run(act(ident))
        assert caught.value.operation == act.__name__
        assert caught.value.provider == "mock"
        assert caught.value.hint
    assert len(run(p.list_compute(ALL))) == 0


def test_with_a_lag_a_terminated_pod_is_shown_for_a_while_and_cannot_be_revived() -> None:
    p = cloud()
    p.world.configure(terminate_lag_s=10.0)
    ident = run(p.create_compute(pod(), tag())).id
    run(p.terminate(ident))
    run(p.terminate(ident))
    assert run(p.get_compute(ident)).status == "terminated"
    for act in (p.start, p.stop):
        with pytest.raises(Conflict, match="terminated"):
            run(act(ident))
    p.world.advance(10)
    assert ident not in p.world.pods
    with pytest.raises(NotFound):
        run(p.get_compute(ident))
    assert len(run(p.list_compute(ALL))) == 0


@pytest.mark.parametrize(
    ("on_exit", "code", "status"),
    [
        ("keep", 0, "finished"),
        ("keep", 3, "failed"),
        ("stop", 0, "stopped"),
        ("terminate", 1, "terminated"),
        ("restart", 1, "running"),
    ],
)
def test_what_follows_the_end_of_the_command_is_on_exits_choice(on_exit: str, code: int, status: str) -> None:
    p = cloud()
    ident = run(p.create_compute(pod(on_exit=on_exit), tag())).id
    p.world.finish(ident, code)
    ended = run(p.get_compute(ident))
    assert ended.status == status
    assert ended.exit_code == (None if status == "running" else code)
    by_itself = run(
        p.create_compute(pod(on_exit=on_exit, provider_options={"exit_after_s": 5, "exit_code": code}), tag())
    )
    assert by_itself.status == "running"
    p.world.advance(5)
    assert run(p.get_compute(by_itself.id)).status == status


def test_a_finished_pod_can_be_started_and_runs_anew() -> None:
    p = cloud()
    ident = run(p.create_compute(pod(provider_options={"exit_after_s": 5}), tag())).id
    p.world.advance(6)
    assert run(p.get_compute(ident)).status == "finished"
    run(p.start(ident))
    again = run(p.get_compute(ident))
    assert (again.status, again.exit_code) == ("running", None)
    p.world.advance(6)
    run(p.stop(ident))
    assert run(p.get_compute(ident)).status == "stopped"


def test_the_cloud_itself_ends_a_pod_at_its_max_lifetime() -> None:
    p = cloud(ATLAS_MOCK_PROVISION_S="10")
    ident = run(p.create_compute(pod(max_lifetime_s=60, on_exit="restart"), tag())).id
    p.world.advance(69)
    assert run(p.get_compute(ident)).status == "running"
    p.world.advance(1)
    ended = run(p.get_compute(ident))
    assert (ended.status, ended.cost_per_hour) == ("terminated", 0.0)
    assert "max_lifetime_s" in ended.reason
    with pytest.raises(Conflict):
        run(p.start(ident))
    run(p.terminate(ident))
    assert p.world.pods == {}


def test_the_first_gpu_with_capacity_wins() -> None:
    p = cloud()
    p.world.configure(capacity={"h100": 1})
    wanted = pod(gpu=("h100_sxm", "a100_80g"))
    assert [run(p.create_compute(wanted, tag())).gpu for _ in range(2)] == ["h100", "a100_80g"]


def test_capacity_counts_cards_of_running_pods() -> None:
    p = cloud()
    p.world.configure(capacity={"h100": 4, "cpu": 1})
    first = run(p.create_compute(pod(gpu=("h100",), gpu_count=3), tag()))
    with pytest.raises(NoCapacity, match="2 x h100 are not free"):
        run(p.create_compute(pod(gpu=("h100",), gpu_count=2), tag()))
    run(p.stop(first.id))
    second = run(p.create_compute(pod(gpu=("h100",), gpu_count=2), tag()))
    with pytest.raises(NoCapacity):
        run(p.start(first.id))
    run(p.terminate(second.id))
    run(p.start(first.id))
    run(p.create_compute(pod(), tag()))
    with pytest.raises(NoCapacity, match="no cpu is free"):
        run(p.create_compute(pod(), tag()))


def test_the_price_cap_is_kept_and_named() -> None:
    p = cloud()
    with pytest.raises(NoCapacity, match=r"h100 costs 2\.99 per hour, more than the cap of 2"):
        run(p.create_compute(pod(gpu=("h100",), max_cost_per_hour=2), tag()))
    assert run(p.create_compute(pod(gpu=("h100", "a100_80g"), max_cost_per_hour=2), tag())).gpu == "a100_80g"
    assert run(p.create_compute(pod(gpu=("h100",), max_cost_per_hour=2, spot=True), tag())).gpu == "h100"
    p.world.configure(prices={"h100": 1.0})
    assert run(p.create_compute(pod(gpu=("h100",), max_cost_per_hour=2), tag())).cost_per_hour == 1.0
    assert len(p.world.pods) == 3


def test_input_that_is_wrong_is_refused_at_once_and_nothing_is_made() -> None:
    p = cloud()
    spec = pod(gpu=("l4", "h10"), volumes={"/data": "mock-0-v9"}, provider_options={"exit_cod": 1, "exit_after_s": -1})
    with pytest.raises(InvalidSpec) as caught:
        run(p.create_compute(spec, tag()))
    assert [f.path for f in caught.value.failures] == [
        "provider_options.exit_cod",
        "provider_options.exit_after_s",
        "volumes./data",
        "gpu[1]",
    ]
    assert "exit_code" in caught.value.failures[0].hint
    assert p.world.pods == {}


def test_update_changes_the_spec_and_restarts_when_asked() -> None:
    p = cloud()
    made = run(p.create_compute(pod(name="a", gpu=("l4",)), tag()))
    renamed = run(p.update_compute(made.id, pod(name="b", gpu=("l4",)), restart=False))
    assert (renamed.name, renamed.raw["restarts"], renamed.birth) == ("b", 0, made.birth)
    p.world.configure(provision_s=3.0)
    restarted = run(p.update_compute(made.id, pod(name="b", gpu=("l4",), env={"X": "1"}), restart=True))
    assert (restarted.status, restarted.raw["restarts"]) == ("provisioning", 1)
    p.world.advance(3)
    assert run(p.get_compute(made.id)).spec.env == {"X": "1"}
    run(p.stop(made.id))
    assert run(p.update_compute(made.id, pod(name="c", gpu=("l4",)), restart=True)).status == "stopped"
    with pytest.raises(Conflict, match="gpu_count"):
        run(p.update_compute(made.id, pod(gpu=("l4",), gpu_count=2), restart=True))
    with pytest.raises(NotFound):
        run(p.update_compute("mock-0-p99", pod(), restart=False))


def test_every_change_of_the_table_is_a_field_that_is_accepted() -> None:
    assert set(MockProvider.compute_changes) <= MockProvider.accepts
    assert set(MockProvider.endpoint_changes) <= MockProvider.endpoint_accepts


def test_filters_are_kept() -> None:
    p = cloud()
    a = run(p.create_compute(pod(name="a", gpu=("l4",), regions=("r1",)), tag()))
    b = run(p.create_compute(pod(name="b"), tag()))
    run(p.stop(b.id))

    def ids(**filters: str) -> list[str]:
        return [c.id for c in run(p.list_compute(ComputeFilter.model_validate(filters)))]

    assert ids(name="a") == ids(gpu="l4") == ids(region="r1") == ids(status="running") == [a.id]
    assert ids(status="stopped") == [b.id]
    assert ids(name="c") == []


def test_a_test_can_change_the_world_behind_the_providers_back() -> None:
    p = cloud()
    world = p.world
    ident = run(p.create_compute(pod(env={"A": "1"}), tag())).id
    world.set_status(ident, "failed", exit_code=-9, reason="killed")
    seen = run(p.get_compute(ident))
    assert (seen.status, seen.exit_code, seen.reason) == ("failed", -9, "killed")
    world.set_status(ident, "provisioning")
    world.advance(1e6)
    assert run(p.get_compute(ident)).status == "provisioning"
    world.set_status(ident, "running")
    world.change(ident, env={"A": "2"})
    assert run(p.get_compute(ident)).spec.env == {"A": "2"}
    world.reclaim(ident)
    assert run(p.get_compute(ident)).status == "terminated"
    world.remove(ident)
    with pytest.raises(NotFound):
        run(p.get_compute(ident))
    for act in (world.remove, world.reclaim, world.finish):
        with pytest.raises(NotFound):
            act(ident)


def test_a_strangers_pod_is_listed_without_an_owner() -> None:
    p = cloud()
    stranger = p.world.plant(pod(name="theirs"))
    (seen,) = run(p.list_compute(ALL))
    assert (seen.id, seen.owner, seen.birth) == (stranger.id, None, None)
    assert p.world.calls("create_compute") == []


def test_offers_name_every_gpu_with_price_and_stock() -> None:
    p = cloud()
    p.world.configure(capacity={"h100": 0, "l4": 1}, prices={"l4": 0.3})
    offers = {offer.canonical: offer for offer in run(p.list_offers())}
    assert tuple(offers) == gpus.known()
    assert (offers["h100"].stock, offers["l4"].stock, offers["a10"].stock) == ("unavailable", "low", "high")
    assert offers["l4"].lowest_price_per_hour == 0.3
    assert all(offer.lowest_price_per_hour > offer.spot_price_per_hour > 0 for offer in offers.values())


def test_logs_tell_what_the_command_printed() -> None:
    p = cloud()
    ident = run(p.create_compute(pod(), tag())).id
    p.world.log(ident, "one", "two")

    async def lines(**how: object) -> list[str]:
        return [line async for line in p.logs(ident, **how)]

    assert run(lines())[-2:] == ["one", "two"]
    assert run(lines(tail=1)) == ["two"]
    assert run(lines(tail=0)) == []

    async def follow() -> list[str]:
        seen = []
        async for line in p.logs(ident, follow=True, tail=1):
            seen.append(line)
            if line == "two":
                p.world.log(ident, "three")
                p.world.finish(ident)
        return seen

    assert run(follow()) == ["two", "three"]
    p.world.remove(ident)
    with pytest.raises(NotFound):
        run(lines())


def test_worlds_are_apart_and_the_processs_own_is_one() -> None:
    try:
        one, two = MockProvider(Access("mock")), MockProvider(Access("mock"))
        apart = cloud()
        made = run(one.create_compute(pod(), tag()))
        assert run(two.get_compute(made.id)).id == made.id
        assert World.open() is one.world is two.world
        assert apart.world.pods == {}
    finally:
        World.open().reset()
    assert World.open().pods == {}
    assert World.open().calls() == []
