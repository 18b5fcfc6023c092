"""Streams of events: replay, then live; nothing lost, nothing twice, and an honest gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from outbox_kit import MemoryStore, TurnedClock, event, run, session, until

from pulumi_atlas.models.session import SessionEvent
from pulumi_atlas.runtime.feed import Feed, Gap


def made(**options: Any) -> tuple[MemoryStore, TurnedClock, Feed]:
    store, clock = MemoryStore(), TurnedClock()
    store.sessions = {name: session(name) for name in ("s1", "s2")}
    return store, clock, Feed(store, clock, **options)  # type: ignore[arg-type]


def tell(store: MemoryStore, feed: Feed, *events: SessionEvent) -> None:
    """As the ledger does it: written, then published."""
    feed.publish(store.sessions["s1"], store.write(*events))


async def take(stream: Any, count: int) -> list[int | Gap]:
    return [_plain(await anext(stream)) for _ in range(count)]


async def rest(stream: Any) -> list[int | Gap]:
    return [_plain(one) async for one in stream]


def _plain(one: SessionEvent | Gap) -> int | Gap:
    return one if isinstance(one, Gap) else one.number


def watching(feed: Feed, after: int | None, ident: str | None = None) -> aclosing[AsyncGenerator[SessionEvent | Gap]]:
    return aclosing(feed.follow(after, ident))  # type: ignore[type-var, return-value]


async def idle(feed: Feed, stream: Any) -> asyncio.Task[Any]:
    """A task that waits for the next event, once it does."""
    task = asyncio.ensure_future(anext(stream))
    await until(lambda: any(one.has_caught_up and not one.news.is_set() for one in feed._all()))
    return task


def test_what_was_written_before_comes_first_and_then_what_is_published() -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(event(), event(), event())
        async with watching(feed, 1) as stream:
            assert await take(stream, 2) == [2, 3]
            waiting = await idle(feed, stream)
            reads = store.calls.count("events")
            tell(store, feed, event())
            assert (await waiting).number == 4
            assert store.calls.count("events") == reads

    run(story())


def test_what_is_published_while_the_store_is_read_comes_once_and_in_order() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event())
        async with watching(feed, 0) as stream:
            assert await take(stream, 1) == [1]  # between the two pages of the replay
            tell(store, feed, event())
            tell(store, feed, event())
            assert await take(stream, 2) == [2, 3]
            tell(store, feed, event())
            assert await take(stream, 1) == [4]

    run(story())


def test_from_now_on_means_from_the_first_request() -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(event(), event())
        async with watching(feed, None) as stream:
            waiting = await idle(feed, stream)
            tell(store, feed, event())
            assert (await waiting).number == 3
        async with watching(feed, None) as stream:
            tell(store, feed, event())
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            tell(store, feed, event())
            assert (await waiting).number == 5

    run(story())


def test_what_is_published_while_a_new_feed_finds_its_place_is_not_lost() -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(event())
        async with watching(feed, None) as stream:
            waiting = asyncio.ensure_future(anext(stream))
            await until(lambda: "event_range" in store.calls)
            tell(store, feed, event())  # counted by the answer that is on its way
            assert (await waiting).number == 2

    run(story())


@pytest.mark.parametrize(("after", "number", "follows"), [(0, 3, [4, 5]), (2, 3, [4, 5]), (9, 5, [])])
def test_a_gap_is_told_first(after: int, number: int, follows: list[int]) -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(*[event() for _ in range(5)])
        store.kept = store.kept[3:]
        async with watching(feed, after) as stream:
            assert await take(stream, 1 + len(follows)) == [Gap(number), *follows]
            waiting = await idle(feed, stream)
            tell(store, feed, event())
            assert (await waiting).number == 6

    run(story())


@pytest.mark.parametrize("after", [3, 4, 5])
def test_no_gap_is_told_where_none_is(after: int) -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(*[event() for _ in range(5)])
        store.kept = store.kept[3:]
        async with watching(feed, after) as stream:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            tell(store, feed, event())
            assert (await waiting).number == after + 1

    run(story())


def test_a_store_without_events_has_no_gap_at_its_beginning_and_one_where_it_never_was() -> None:
    async def story() -> None:
        store, _, feed = made()
        async with watching(feed, 7) as stream:
            assert await take(stream, 1) == [Gap(0)]
        async with watching(feed, 0) as stream:
            waiting = await idle(feed, stream)
            tell(store, feed, event())
            assert (await waiting).number == 1

    run(story())


def test_a_sessions_stream_holds_only_its_events_and_ends_after_its_final_status() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event("s1"), event("s2"))
        async with watching(feed, 0, "s1") as stream:
            assert await take(stream, 1) == [1]
            tell(store, feed, event("s2"), event("s1", "note"))
            tell(store, feed, event("s1", data={"state": "terminating"}), event("s1", data={"state": "terminated"}))
            tell(store, feed, event("s1", "note"))
            assert await rest(stream) == [4, 5, 6]
        assert feed.followers == 0 and feed._of_session == {}

    run(story())


@pytest.mark.parametrize(("after", "follows"), [(0, [1, 2]), (1, [2]), (2, []), (None, [])])
def test_the_stream_of_a_session_that_is_over_ends_by_itself(after: int | None, follows: list[int]) -> None:
    async def story() -> None:
        store, _, feed = made()
        store.write(event("s1"), event("s1", data={"state": "failed"}))
        store.sessions["s1"] = session("s1", state="failed")
        async with watching(feed, after, "s1") as stream:
            assert await rest(stream) == follows
        async with watching(feed, 0, "nobody") as stream:
            assert await rest(stream) == []

    run(story())


def test_other_sessions_events_that_are_forgotten_are_no_gap_in_a_sessions_stream() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event("s1"), event("s2"), event("s2"))
        async with watching(feed, 0, "s1") as stream:
            assert await take(stream, 1) == [1]
            waiting = await idle(feed, stream)
            store.kept = store.kept[3:]
            store.write(event("s1"))
            tell(store, feed, event("s2"))
            assert _plain(await waiting) == 4

    run(story())


def test_only_a_status_ends_a_sessions_stream() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event("s1", "note", data={"state": "failed"}), event("s1"))
        async with watching(feed, 0, "s1") as stream:
            assert await take(stream, 2) == [1, 2]

    run(story())


def test_the_final_status_of_one_session_does_not_end_the_stream_of_all() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event("s1", data={"state": "terminated"}), event("s2"))
        async with watching(feed, 0) as stream:
            assert await take(stream, 2) == [1, 2]

    run(story())


def test_a_slow_follower_holds_no_more_than_its_queue_and_loses_nothing() -> None:
    async def story() -> None:
        store, _, feed = made(queue=4, page=3)
        tell(store, feed, event())
        async with watching(feed, 0) as stream:
            assert await take(stream, 1) == [1]
            for _ in range(50):
                tell(store, feed, event())
                assert all(len(follower.waiting) <= 4 for follower in feed._all())
            assert await take(stream, 50) == list(range(2, 52))
            waiting = await idle(feed, stream)
            reads = store.calls.count("events")
            tell(store, feed, event())
            assert (await waiting).number == 52
            assert store.calls.count("events") == reads  # it lives on what is published again

    run(story())


@pytest.mark.parametrize("ident", [None, "s1"])
def test_a_number_that_was_never_published_is_read_from_the_store(ident: str | None) -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event())
        async with watching(feed, 1, ident) as stream:
            waiting = await idle(feed, stream)
            store.write(event())  # by somebody who does not publish
            tell(store, feed, event("s2"))
            assert (await waiting).number == 2

    run(story())


def test_events_published_out_of_order_come_in_order() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event())
        async with watching(feed, 1) as stream:
            waiting = await idle(feed, stream)
            two, three = store.write(event(), event())
            feed.publish(None, [three])
            feed.publish(None, [two])
            assert (await waiting).number == 2
            tell(store, feed, event())
            assert await take(stream, 2) == [3, 4]

    run(story())


def test_closing_ends_every_stream_waiting_or_not() -> None:
    async def story() -> None:
        store, _, feed = made()
        tell(store, feed, event())
        async with watching(feed, 1) as one, watching(feed, 1, "s1") as other, watching(feed, 0) as third:
            await take(third, 1)
            tasks = [asyncio.ensure_future(rest(one)), asyncio.ensure_future(rest(other))]
            await until(lambda: sum(follower.has_caught_up for follower in feed._all()) == 2)
            feed.close()
            assert await asyncio.gather(*tasks) == [[], []]
            assert await rest(third) == []
        async with watching(feed, 0) as late:
            assert await rest(late) == []
        assert feed.followers == 0

    run(story())


def test_an_unavailable_store_is_waited_for_longer_each_time() -> None:
    async def story() -> None:
        store, clock, feed = made()
        store.write(event(), event())
        store.fails = 3
        async with watching(feed, 0, "s1") as stream:
            waiting = asyncio.ensure_future(take(stream, 2))
            for _ in range(3):
                await clock.sleeper()
                clock.turn(60)
            assert await waiting == [1, 2]
            assert clock.slept == [0.5, 1.0, 2.0]

    run(story())


def test_closing_ends_a_stream_that_waits_for_the_store() -> None:
    async def story() -> None:
        store, clock, feed = made()
        store.fails = 100
        async with watching(feed, 0) as stream:
            waiting = asyncio.ensure_future(rest(stream))
            await clock.sleeper()
            feed.close()
            assert await waiting == []

    run(story())


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_interleaving_each_follower_has_every_event_once(seed: int) -> None:
    chance = random.Random(seed)

    async def story() -> None:
        store, _, feed = made(queue=chance.choice([1, 3, 50]), page=chance.choice([1, 2, 500]))
        counts = {"all": 0, "s1": 0, "s2": 0}

        async def follow(name: str, after: int) -> list[int | Gap]:
            seen: list[int | Gap] = []
            async with watching(feed, after, None if name == "all" else name) as stream:
                async for one in stream:
                    seen.append(_plain(one))
                    for _ in range(chance.randrange(4)):
                        await asyncio.sleep(0)
                    if isinstance(one, SessionEvent) and one.data.get("last"):
                        break
            counts[name] += 1
            return seen

        followers = [(name, asyncio.ensure_future(follow(name, 0))) for name in ("all", "s1", "s2", "all")]
        held: list[SessionEvent] = []
        for _ in range(60):
            written = store.write(event(chance.choice(["s1", "s2"]), "note"))
            what = chance.random()
            if what < 0.1:
                continue  # not published at all
            held.extend(written)
            if what < 0.7:
                chance.shuffle(held)
                for one in held:
                    feed.publish(None, [one])
                held = []
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
        feed.publish(None, held)
        for name in ("s1", "s2"):
            tell(store, feed, event(name, "note", data={"last": name == "s1"}))
        tell(store, feed, event("s2", "note", data={"last": True}))
        for name, task in followers:
            got, wanted = await task, [one.number for one in store.kept if name in ("all", one.session_id)]
            assert got == wanted[: len(got)] and store.kept[got[-1] - 1].data["last"]  # type: ignore[operator]

    run(story())
