"""Prices that make no sense, prices that nobody tells, and budgets that nobody can spend."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from core_kit import Stage, install, play

from pulumi_atlas.providers.mock import MockProvider


class Priced(MockProvider):
    """Tells the price that it is told to: `same` leaves it as it is."""

    price: ClassVar[Any] = "same"

    def _told(self, pod: Any) -> Any:
        return pod if self.price == "same" else pod.model_copy(update={"cost_per_hour": self.price})

    async def get_compute(self, *args: Any) -> Any:
        return self._told(await super().get_compute(*args))

    async def create_compute(self, *args: Any) -> Any:
        return self._told(await super().create_compute(*args))

    async def list_compute(self, *args: Any) -> Any:
        listing = await super().list_compute(*args)
        return type(listing)(tuple(self._told(pod) for pod in listing), listing.account, complete=listing.complete)


@pytest.fixture
def priced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    install(monkeypatch, stage, Priced)
    monkeypatch.setattr(Priced, "price", "same")
    return stage


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -5.0])
def test_a_price_that_makes_no_sense_counts_as_not_known(
    priced: Stage, monkeypatch: pytest.MonkeyPatch, price: float
) -> None:
    priced.options |= {"warn_before_s": 0, "on_idle": "stop", "idle_ttl_s": 300, "max_lifetime_s": None}

    async def act() -> None:
        session = (await priced.ready()).session
        monkeypatch.setattr(Priced, "price", price)
        await priced.clock.advance(200)
        many = len(await priced.events(session.id))
        await priced.clock.advance(300)
        assert (await priced.get(session.id)).state == "paused"
        await priced.companion.close(session.id, actor="key:k1")
        over = await priced.advance_until(session.id, "terminated", most_s=120)
        assert math.isfinite(over.cost_settled) and over.cost_settled > 0
        assert len(await priced.events(session.id)) <= many + 6, "no event for each look"

    play(priced, act)


@pytest.mark.parametrize("price", [math.nan, math.inf, -1.0])
def test_a_pod_that_is_rented_at_a_price_that_makes_no_sense_can_be_ended(
    priced: Stage, monkeypatch: pytest.MonkeyPatch, price: float
) -> None:
    monkeypatch.setattr(Priced, "price", price)

    async def act() -> None:
        session = (await priced.ready()).session
        assert session.cost_per_hour is None or math.isfinite(session.cost_per_hour)
        priced.companion.show(await priced.get(session.id))
        await priced.companion.close(session.id, actor="key:k1")
        over = await priced.advance_until(session.id, "terminated", most_s=120)
        assert over.cost_settled == 0

    play(priced, act)


def test_a_budget_beyond_all_time_keeps_nothing_from_being_written(stage: Stage) -> None:
    """Its end has no time that JSON could tell."""
    import json

    stage.options |= {"warn_before_s": 0, "on_idle": "stop", "idle_ttl_s": 300, "max_lifetime_s": None}

    async def act() -> None:
        session = (await stage.ready(budget=1.7e308)).session
        await stage.companion.pause(session.id, actor="key:k1")
        await stage.advance_until(session.id, "paused", most_s=60)
        for event in await stage.companion.store.events(after=0, session_id=session.id):
            json.dumps(event.data, allow_nan=False)

    play(stage, act)


def test_a_budget_is_kept_after_a_resume_whose_price_nobody_tells(
    priced: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced.options |= {"warn_before_s": 0}

    async def act() -> None:
        session = (await priced.ready(budget=1.0, max_lifetime_s=3e6)).session
        await priced.companion.pause(session.id, actor="key:k1")
        await priced.advance_until(session.id, "paused", most_s=60)
        monkeypatch.setattr(Priced, "price", None)
        await priced.companion.resume(session.id, actor="key:k1")
        await priced.clock.advance(120)
        after = await priced.get(session.id)
        assert after.state != "ready" or after.cost_per_hour is not None
        assert not [pod for pod in priced.pods().values() if pod.status == "running"]

    play(priced, act)
