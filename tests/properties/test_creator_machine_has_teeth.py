"""The machine of `test_creator_machine` finds mistakes: each of these, planted in the client, breaks a promise it watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pulumi_atlas.client import IntentBook
from pulumi_atlas.client.creation import Creation, Creator
from pulumi_atlas.client.intents import Intent
from pulumi_atlas.errors import UnknownOutcome
from pulumi_atlas.rules import ownership

from .test_creator_machine import CreatorMachine

QUICK = settings(
    max_examples=100,
    stateful_step_count=20,
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def forgets_to_look_at_earlier_creations(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Creator, work: Creation[Any]) -> None:
        return None

    patch.setattr(Creator, "_settle_earlier", nothing)


def takes_a_lost_answer_for_a_no(patch: pytest.MonkeyPatch) -> None:
    async def give_up(self: Creator, work: Creation[Any], error: UnknownOutcome) -> Any:
        self._book.close(work.tag.birth)
        raise error

    patch.setattr(Creator, "_look_for", give_up)


def closes_a_note_without_proof(patch: pytest.MonkeyPatch) -> None:
    async def believe(self: Creator, kind: Any, intent: Intent) -> bool:
        return True

    patch.setattr(Creator, "_remove_until_gone", believe)


def writes_no_note(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(IntentBook, "open", lambda self, intent: intent)


def trusts_a_listing_too_early(patch: pytest.MonkeyPatch) -> None:
    from ._clouds import LaggingMock

    patch.setattr(LaggingMock, "listing_lag_s", 0.0)


def lets_a_second_run_in(patch: pytest.MonkeyPatch) -> None:
    verdict = ownership.on_create
    patch.setattr(ownership, "on_create", lambda left: "remove" if left.writer_may_live else verdict(left))


def removes_what_may_be_in_the_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ownership, "on_create", lambda left: "refuse" if left.writer_may_live else "remove")


def recovers_without_looking_at_the_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ownership, "on_recovery", lambda left, in_state: "remove")


@pytest.mark.parametrize(
    "mistake",
    [
        forgets_to_look_at_earlier_creations,
        takes_a_lost_answer_for_a_no,
        closes_a_note_without_proof,
        writes_no_note,
        trusts_a_listing_too_early,
        lets_a_second_run_in,
        removes_what_may_be_in_the_state,
        recovers_without_looking_at_the_state,
    ],
)
def test_a_planted_mistake_is_found(mistake: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mistake(patch)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(CreatorMachine, settings=QUICK)
