"""The contract of stores: events, what is forgotten, the outbox of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from store_kit import NOW, a_birth, a_session, an_answer, an_event, numbers

from pulumi_atlas.runtime.store.contract import Stale, Store

pytestmark = pytest.mark.anyio

LONG_AGO = 0.0


async def nothing_due(store: Store) -> bool:
    return not await store.due(NOW + 1e9) and await store.next_due() is None


# -- events


async def test_an_event_comes_back_as_it_was(store: Store) -> None:
    whole = an_event(
        "s1", at=NOW + 0.125, kind="warning", actor="key:1", cause="idle", data={"é": [1, {"x": None}]}, owner="o"
    )
    [written] = await store.note([whole])
    assert written.number == 1
    assert list(await store.events(after=0)) == [written]
    assert (await store.note([an_event(None, owner=None)]))[0].session_id is None


async def test_numbers_grow_by_one_over_all_ways_in(store: Store) -> None:
    _, first = await store.add(a_session(), [an_event()])
    _, second = await store.change("s1", 0, {}, [an_event(), an_event()])
    third = await store.note([an_event(None)])
    assert numbers([*first, *second, *third]) == [1, 2, 3, 4]
    assert await store.note([]) == ()


async def test_a_failed_write_leaves_no_hole(store: Store) -> None:
    await store.add(a_session(), [an_event()])
    for _ in range(3):
        with pytest.raises(Stale):
            await store.change("s1", 9, {}, [an_event()])
        with pytest.raises((TypeError, ValueError)):
            await store.note([an_event(data={"x": object()})])
    assert numbers(await store.note([an_event()])) == [2]


async def test_numbers_follow_the_commits_and_a_reader_never_sees_a_hole(store: Store) -> None:
    for n in range(40):
        await store.add(a_session(f"s{n}"), [])
    done = asyncio.Event()

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            seen = numbers(await store.events(after=0, limit=1_000))
            assert seen == list(range(1, len(seen) + 1))
            looks += 1
        return looks

    async def write(n: int) -> list[int]:
        mine: list[int] = []
        for version in range(5):
            _, events = await store.change(f"s{n}", version, {}, [an_event(f"s{n}"), an_event(f"s{n}")])
            mine += numbers(events)
        return mine

    watching = asyncio.ensure_future(watch())
    written = await asyncio.gather(*map(write, range(40)))
    done.set()
    assert await watching > 0
    assert sorted(number for mine in written for number in mine) == list(range(1, 401))
    assert all(mine == sorted(mine) for mine in written)


async def test_events_behind_a_number_of_one_session_and_so_many(store: Store) -> None:
    await store.note([an_event("a"), an_event("b"), an_event("a"), an_event(None), an_event("a")])
    assert numbers(await store.events(after=0)) == [1, 2, 3, 4, 5]
    assert numbers(await store.events(after=3)) == [4, 5]
    assert numbers(await store.events(after=5)) == []
    assert numbers(await store.events(after=1, session_id="a")) == [3, 5]
    assert numbers(await store.events(after=0, session_id="a", limit=2)) == [1, 3]


async def test_the_range_before_the_first_event(store: Store) -> None:
    assert await store.event_range() == (1, 0)
    await store.note([an_event(), an_event()])
    assert await store.event_range() == (1, 2)


# -- prune


async def forget(
    store: Store, *, events: float = LONG_AGO, sessions: float = LONG_AGO, answers: float = LONG_AGO
) -> int:
    return await store.prune(events_before=events, sessions_before=sessions, answers_before=answers)


async def test_old_events_are_forgotten_and_their_numbers_not_given_again(store: Store) -> None:
    await store.note([an_event(at=NOW + n) for n in range(4)])
    assert await forget(store, events=NOW + 2) == 2
    assert await store.event_range() == (3, 4)
    assert await forget(store, events=NOW + 99) == 2
    assert await store.event_range() == (5, 4)
    assert numbers(await store.note([an_event()])) == [5]


async def test_the_newest_number_is_known_after_a_restart_without_events(make_store: Callable[[], Store]) -> None:
    first = make_store()
    await first.open(name="tests", now=NOW)
    await first.note([an_event(), an_event()])
    await forget(first, events=NOW + 1)
    await first.aclose()
    second = make_store()
    await second.open(name="tests", now=NOW)
    assert await second.event_range() == (3, 2)
    await second.aclose()


async def test_an_event_that_is_not_delivered_yet_is_kept_with_all_behind_it(store: Store) -> None:
    """So that what is kept has no holes, and a reader who missed some can tell by the range."""
    await store.set_webhooks(["w"])
    await store.note([an_event() for _ in range(4)])
    for number in (1, 3, 4):
        await store.delivered(number, "w")
    assert await forget(store, events=NOW + 1) == 1
    assert await store.event_range() == (2, 4)
    assert numbers(await store.events(after=0)) == [2, 3, 4]
    assert [one.event.number for one in await store.due(NOW)] == [2]
    await store.delivered(2, "w")
    assert await forget(store, events=NOW + 1) == 3


async def test_an_old_event_behind_a_young_one_is_kept(store: Store) -> None:
    await store.note([an_event(at=NOW), an_event(at=NOW + 10), an_event(at=NOW)])
    assert await forget(store, events=NOW + 5) == 1
    assert await store.event_range() == (2, 3)


async def test_more_events_than_one_piece_are_forgotten(store: Store) -> None:
    await store.note([an_event() for _ in range(2_100)])
    assert await forget(store, events=NOW + 1) == 2_100


async def test_final_sessions_that_ended_before_are_forgotten(store: Store) -> None:
    rows = [
        a_session("old", state="terminated", ended_at=NOW - 1),
        a_session("failed", state="failed", ended_at=NOW - 1),
        a_session("young", state="terminated", ended_at=NOW),
        a_session("live", state="ready", ended_at=NOW - 1),
        a_session("irrevocable", state="irrevocable", ended_at=NOW - 1),
        a_session("without", state="failed", ended_at=None, created_at=NOW - 1),
    ]
    for row in rows:
        await store.add(row, [])
    assert await forget(store, sessions=NOW) == 3
    left = [session.id for session in (await store.page()).sessions]
    assert left == ["young", "live", "irrevocable"]


async def test_a_final_session_whose_pod_may_be_there_is_kept_and_so_are_its_births(store: Store) -> None:
    """The sweep knows a pod by its birth; what is forgotten can never be swept."""
    for n, state in enumerate(("open", "held", "dead", "gone")):
        await store.add(a_session(state, state="terminated", ended_at=NOW - 1), [])
        await store.note_birth(a_birth(str(n), session_id=state, state=state, written_at=NOW - 2))  # type: ignore[arg-type]
    assert await forget(store, sessions=NOW) == 3  # two sessions, and the birth that is gone
    assert [one.id for one in (await store.page()).sessions] == ["open", "held"]
    assert [one.state for one in await store.births()] == ["open", "held", "dead"]


async def test_a_birth_that_is_gone_stays_as_long_as_its_session(store: Store) -> None:
    await store.add(a_session(), [])
    await store.note_birth(a_birth(state="gone", written_at=NOW - 2))
    assert await forget(store, sessions=NOW) == 0
    assert list(await store.births()) == [a_birth(state="gone", written_at=NOW - 2)]


async def test_old_answers_are_forgotten(store: Store) -> None:
    await store.add(a_session("a"), [], an_answer("old", at=NOW - 1))
    await store.add(a_session("b"), [], an_answer("young", at=NOW))
    assert await forget(store, answers=NOW) == 1
    assert await store.answered("caller", "old") is None
    assert await store.answered("caller", "young") == an_answer("young", at=NOW)
    await store.add(a_session("c"), [], an_answer("old"))


# -- webhooks


async def test_without_webhooks_nothing_is_to_be_delivered(store: Store) -> None:
    await store.note([an_event()])
    assert await nothing_due(store)


async def test_each_event_goes_to_each_webhook_from_then_on(store: Store) -> None:
    await store.note([an_event(cause="before")])
    await store.set_webhooks(["b", "a"])
    _, [opened] = await store.add(a_session(), [an_event(at=NOW)])
    _, [changed] = await store.change("s1", 0, {}, [an_event(at=NOW + 1)])
    [noted] = await store.note([an_event(None, at=NOW + 2)])
    due = await store.due(NOW + 9)
    assert [(one.event, one.webhook) for one in due] == [
        (event, name) for event in (opened, changed, noted) for name in ("a", "b")
    ]
    assert {(one.attempt, one.last_error) for one in due} == {(0, "")}
    assert await store.next_due() == NOW


async def test_a_failed_write_leaves_nothing_to_deliver(store: Store) -> None:
    await store.set_webhooks(["w"])
    await store.add(a_session(), [])
    with pytest.raises(Stale):
        await store.change("s1", 9, {}, [an_event()])
    assert await nothing_due(store)


async def test_deliveries_are_due_at_their_time_oldest_first(store: Store) -> None:
    await store.set_webhooks(["w"])
    await store.note([an_event(at=NOW + 5), an_event(at=NOW), an_event(at=NOW + 3)])
    assert [one.event.number for one in await store.due(NOW + 3)] == [2, 3]
    assert [one.event.number for one in await store.due(NOW + 9, limit=2)] == [2, 3]
    assert not await store.due(NOW - 1)


async def test_deliveries_to_one_webhook_are_found_behind_any_number_of_others(store: Store) -> None:
    await store.set_webhooks(["slow", "other"])
    await store.note([an_event(at=NOW), an_event(at=NOW + 1)])
    await store.delivered(1, "other")
    assert [one.event.number for one in await store.due(NOW + 9, webhook="other", limit=1)] == [2]
    assert [one.event.number for one in await store.due(NOW + 9, webhook="slow", limit=1)] == [1]
    assert (await store.next_due(webhook="other"), await store.next_due()) == (NOW + 1, NOW)
    assert not await store.due(NOW + 9, webhook="nobody")
    assert await store.next_due(webhook="nobody") is None


async def test_what_arrived_is_dropped_alone(store: Store) -> None:
    await store.set_webhooks(["a", "b"])
    await store.note([an_event(), an_event()])
    await store.delivered(1, "a")
    await store.delivered(1, "a")
    await store.delivered(77, "a")
    assert [(one.event.number, one.webhook) for one in await store.due(NOW)] == [(1, "b"), (2, "a"), (2, "b")]


async def test_what_did_not_arrive_has_one_attempt_more_and_its_next_time(store: Store) -> None:
    await store.set_webhooks(["a", "b"])
    await store.note([an_event()])
    await store.postponed(1, "a", due_at=NOW + 60, error="HTTP 500")
    assert [one.webhook for one in await store.due(NOW + 59)] == ["b"]
    await store.delivered(1, "b")
    assert await store.next_due() == NOW + 60
    await store.postponed(1, "a", due_at=NOW + 70, error="refused")
    [one] = await store.due(NOW + 70)
    assert (one.attempt, one.due_at, one.last_error, one.webhook) == (2, NOW + 70, "refused", "a")
    await store.postponed(77, "a", due_at=NOW, error="nothing there")
    assert len(await store.due(NOW + 99)) == 1


async def test_deliveries_to_webhooks_that_are_named_no_more_are_dropped(store: Store) -> None:
    await store.set_webhooks(["a", "b"])
    await store.note([an_event()])
    await store.set_webhooks(["b", "c"])
    assert [one.webhook for one in await store.due(NOW)] == ["b"]
    await store.note([an_event()])
    assert [one.webhook for one in await store.due(NOW)] == ["b", "b", "c"]
    await store.set_webhooks([])
    assert await nothing_due(store)


async def test_deliveries_wait_over_a_restart(make_store: Callable[[], Store]) -> None:
    first = make_store()
    await first.open(name="tests", now=NOW)
    await first.set_webhooks(["w"])
    await first.note([an_event()])
    await first.postponed(1, "w", due_at=NOW + 5, error="x")
    await first.aclose()
    second = make_store()
    await second.open(name="tests", now=NOW)
    await second.set_webhooks(["w"])
    [one] = await second.due(NOW + 5)
    assert (one.event.number, one.attempt, one.last_error) == (1, 1, "x")
    await second.aclose()
