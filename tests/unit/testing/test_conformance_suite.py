"""The suite itself: nothing in it hides another test, and a provider that misbehaves does not pass."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.access import Access
from pulumi_atlas.ids import PodId, Tag
from pulumi_atlas.models import Compute, ComputeFilter, ComputeSpec, Listing
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.testing.conformance import Harness, ProviderConformance, Stage, Suite


def test_no_test_of_one_suite_hides_a_test_of_another() -> None:
    names: dict[str, type] = {}
    for suite in ProviderConformance.__mro__:
        for name in vars(suite):
            if name.startswith("test_"):
                assert name not in names, f"{suite.__name__}.{name} is hidden by {names[name].__name__}"
                names[name] = suite
    assert len(names) > 60


def test_every_suite_is_part_of_the_whole() -> None:
    import pulumi_atlas.testing.conformance as kit

    suites = [value for value in vars(kit).values() if inspect.isclass(value) and issubclass(value, Suite)]
    assert all(issubclass(ProviderConformance, suite) for suite in suites)


class PlainHarness(Harness):
    """Only what is required."""

    name = "mock"
    provider_class: type[MockProvider] = MockProvider

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.world = World.fresh()

    def provider(self) -> Any:
        return self.provider_class(Access("mock"), world=self.world)

    def spec(self, **fields: Any) -> ComputeSpec:
        return ComputeSpec(**fields)

    def exists(self, pod_id: str) -> bool:
        return pod_id in self.world.pods


def play(test: str, provider_class: type[MockProvider], folder: Path) -> PlainHarness:
    harness = PlainHarness(folder)
    harness.provider_class = provider_class
    getattr(ProviderConformance(), test)(Stage(harness))
    return harness


def test_a_hook_that_is_not_given_skips_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"mock cannot kill a pod behind its back"):
        play("test_a_pod_killed_behind_the_providers_back_is_seen_as_failed", MockProvider, tmp_path)


def test_an_ability_that_is_not_there_skips_with_its_reason(tmp_path: Path) -> None:
    stage = Stage(PlainHarness(tmp_path))

    async def story() -> None:
        stage.need("templates")

    with pytest.raises(
        pytest.skip.Exception, match=r"mock does not offer templates: the mock cloud keeps no templates"
    ):
        stage.run(story)


def test_what_a_test_created_is_removed_even_when_it_fails(tmp_path: Path) -> None:
    stage = Stage(harness := PlainHarness(tmp_path))

    async def story() -> None:
        volume = await stage.volume()
        await stage.pod(volumes={"/data": volume.id})
        await stage.provider.create_endpoint(_endpoint(), stage.tag())
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        stage.run(story)
    assert not harness.world.pods
    assert not harness.world.volumes
    assert not harness.world.endpoints


def test_what_others_own_is_not_swept(tmp_path: Path) -> None:
    stage = Stage(harness := PlainHarness(tmp_path))
    theirs = harness.world.plant(ComputeSpec())

    async def story() -> None:
        await stage.pod()

    stage.run(story)
    assert list(harness.world.pods) == [theirs.id]


class ForgetsTags(MockProvider):
    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        listing = await super().list_compute(filters)
        return Listing(tuple(pod.model_copy(update={"birth": None}) for pod in listing), listing.account)


class IgnoresFilters(MockProvider):
    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        return await super().list_compute(ComputeFilter())


class TerminatesInWords(MockProvider):
    async def terminate(self, pod_id: PodId) -> None:
        await super().get_compute(pod_id)


class TerminatesAnything(MockProvider):
    async def terminate(self, pod_id: PodId) -> None:
        if pod_id in self.world.pods:
            await super().terminate(pod_id)


class RentsTwice(MockProvider):
    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        await super().create_compute(spec, tag)
        return await super().create_compute(spec, tag)


class DropsUpdates(MockProvider):
    async def update_compute(self, pod_id: PodId, spec: ComputeSpec, *, restart: bool) -> Compute:
        return await self.get_compute(pod_id)


class TellsEnv(MockProvider):
    async def get_compute(self, pod_id: PodId) -> Compute:
        pod = await super().get_compute(pod_id)
        return pod.model_copy(update={"raw": {**pod.raw, "env": pod.spec.env if pod.spec else {}}})


@pytest.mark.parametrize(
    ("liar", "test"),
    [
        (ForgetsTags, "test_birth_owner_and_name_come_back_from_create_get_and_list"),
        (IgnoresFilters, "test_each_filter_lets_through_exactly_what_matches"),
        (TerminatesAnything, "test_terminate_of_what_is_not_there_raises_not_found"),
        (RentsTwice, "test_no_create_makes_more_than_it_says"),
        (DropsUpdates, "test_a_change_that_asks_for_a_new_pod_is_done_or_refused_but_never_dropped"),
        (TellsEnv, "test_no_secret_shows_in_what_is_observed"),
    ],
)
def test_a_provider_that_lies_is_found_out(liar: type[MockProvider], test: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        play(test, liar, tmp_path)
    play(test, MockProvider, tmp_path)


def test_a_provider_that_only_says_that_it_terminates_is_found_out(tmp_path: Path) -> None:
    class Hasty(PlainHarness):
        patience_s = 0.2

    harness = Hasty(tmp_path)
    harness.provider_class = TerminatesInWords
    test = ProviderConformance().test_what_is_created_is_shown_by_get_and_by_list_and_gone_after_terminate
    with pytest.raises(AssertionError, match="never came true"):
        test(Stage(harness))


def _endpoint() -> Any:
    from pulumi_atlas.models import EndpointSpec

    return EndpointSpec(image="worker")
