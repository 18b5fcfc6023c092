"""Cases of a creation that the state machine has taught, each by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.access import Access
from pulumi_atlas.client import IntentBook, Stop, kinds
from pulumi_atlas.client.creation import Creation, Creator
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, ProviderFailure, UnknownOutcome
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers.mock import World

from ._clouds import LaggingMock, SimClock


class Case:
    def __init__(self, folder: Path) -> None:
        self.world = World.fresh()
        self.clock = SimClock(self.world)
        self.book = IntentBook(folder)
        self.tag = Tag(new_birth(), Owner("stack", "5afe", "atlas:Pod::trainer"))

    def create(self, failure: AtlasError | None = None) -> Compute:
        provider = LaggingMock(self.world)

        async def until_usable(pod: Compute) -> Compute:
            if failure:
                raise failure
            return pod

        async def work() -> Compute:
            creator = Creator(Opened(provider, Access("mock"), self.clock), self.book, self.clock, Stop())
            return await creator.create(Creation(kinds.POD, ComputeSpec(), self.tag, "trainer", until_usable))

        return asyncio.run(work())

    def state(self) -> str | None:
        intent = self.book.get(self.tag.birth)
        return intent.state if intent else None


@pytest.mark.parametrize("step", ["record_id", "answer"])
def test_what_was_rented_and_cannot_be_noted_is_removed(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise ProviderFailure("no space left to write the intent")

    case = Case(tmp_path)
    monkeypatch.setattr(IntentBook, step, full)
    with pytest.raises(ProviderFailure, match="no space left"):
        case.create()
    assert not case.world.pods
    assert case.state() is None


def test_a_listing_that_fails_while_a_birth_is_looked_for_does_not_end_the_search(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.world.fail_next("create_compute", after_effect=True)
    case.world.fail_next("list_compute", "transport", times=3)
    assert case.create().birth == case.tag.birth
    assert case.state() == "answered"


def test_an_outage_after_a_lost_answer_ends_with_an_unknown_outcome_and_an_open_note(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.world.fail_next("create_compute", after_effect=True)
    case.world.fail_next("list_compute", "transport", times=None)
    with pytest.raises(UnknownOutcome) as caught:
        case.create()
    assert "doctor --recover" in caught.value.hint
    assert case.state() == "open"


def test_a_cloud_that_shows_terminated_pods_for_hours_confirms_a_removal_all_the_same(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.world.configure(terminate_lag_s=7200.0)
    with pytest.raises(ProviderFailure, match="it failed") as caught:
        case.create(ProviderFailure("it failed"))
    assert not caught.value.hint
    assert {pod.status for pod in case.world.pods.values()} == {"terminated"}
    assert case.state() is None


def test_a_failed_creation_that_cannot_be_removed_says_that_it_may_cost_money(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.world.fail_next("terminate", "forbidden", times=None)
    with pytest.raises(ProviderFailure, match="it failed") as caught:
        case.create(ProviderFailure("it failed"))
    assert "may cost money" in caught.value.hint
    assert case.state() == "open"
