"""The contract of stores: sessions, activity, pages and money."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from store_kit import NOW, a_birth, a_full_session, a_session, an_answer, an_event, numbers

from pulumi_atlas.errors import Conflict, InvalidSpec
from pulumi_atlas.models.session import Session, SessionState
from pulumi_atlas.runtime.store.contract import Stale, Store, StoreUnavailable, TouchRow

pytestmark = pytest.mark.anyio


async def all_pages(store: Store, **filters: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await store.page(cursor=cursor, **filters)
        found += [session.id for session in page.sessions]
        cursor = page.next_cursor
        if cursor is None:
            return found


# -- add


async def test_a_session_comes_back_as_it_was_added(store: Store) -> None:
    for session in (a_session("plain"), a_full_session("full")):
        added, events = await store.add(session, [])
        assert (added, events) == (session, ())
        assert await store.get(session.id) == session


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.get("nobody") is None


async def test_its_first_events_and_answer_are_written_with_it(store: Store) -> None:
    _, events = await store.add(a_session(), [an_event(), an_event(kind="note")], an_answer())
    assert numbers(events) == [1, 2]
    assert list(await store.events(after=0)) == list(events)
    assert await store.answered("caller", "k") == an_answer()


async def test_the_same_id_is_a_conflict_and_writes_nothing(store: Store) -> None:
    await store.add(a_session(owner="first"), [an_event()])
    with pytest.raises(Conflict):
        await store.add(a_session(owner="second"), [an_event()], an_answer())
    assert (await store.get("s1")) == a_session(owner="first")
    assert await store.event_range() == (1, 1)
    assert await store.answered("caller", "k") is None


async def test_the_same_idempotency_key_of_a_caller_is_a_conflict_and_writes_nothing(store: Store) -> None:
    await store.add(a_session("s1"), [], an_answer())
    with pytest.raises(Conflict):
        await store.add(a_session("s2"), [an_event("s2")], an_answer(session_id="s2"))
    assert await store.get("s2") is None
    assert await store.event_range() == (1, 0)
    assert await store.answered("caller", "k") == an_answer()


async def test_another_caller_may_use_the_same_idempotency_key(store: Store) -> None:
    await store.add(a_session("s1"), [], an_answer())
    await store.add(a_session("s2"), [], an_answer(caller="other", session_id="s2"))
    assert await store.answered("other", "k") == an_answer(caller="other", session_id="s2")


async def test_of_many_at_once_under_one_idempotency_key_one_is_added(store: Store) -> None:
    tries = [store.add(a_session(f"s{n}"), [an_event(f"s{n}")], an_answer(session_id=f"s{n}")) for n in range(20)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    added = [one for one in outcomes if not isinstance(one, BaseException)]
    assert len(added) == 1
    assert all(isinstance(one, Conflict) for one in outcomes if isinstance(one, BaseException))
    assert len([session async for session in store.live()]) == 1
    assert await store.event_range() == (1, 1)


# -- change


async def test_a_change_raises_the_version_by_one_and_leaves_other_fields(store: Store) -> None:
    await store.add(a_full_session(), [])
    changed, _ = await store.change("full", 7, {"state": "resuming", "reason": ""})
    assert changed == replace(a_full_session(), state="resuming", reason="", version=8)
    assert await store.get("full") == changed


async def test_every_field_can_be_changed_but_id_and_version(store: Store) -> None:
    plain, full = a_session("x"), a_full_session("x")
    await store.add(plain, [])
    names = [one.name for one in fields(Session) if one.name not in ("id", "version")]
    for version, name in enumerate(names):
        changed, _ = await store.change("x", version, {name: getattr(full, name)})
        assert getattr(changed, name) == getattr(full, name), name
    assert await store.get("x") == replace(full, version=len(names))


@pytest.mark.parametrize("name", ["id", "version", "no_such_field", "seq"])
async def test_a_change_may_not_name(store: Store, name: str) -> None:
    await store.add(a_session(), [])
    with pytest.raises(ValueError, match=name):
        await store.change("s1", 0, {name: "x"}, [an_event()])
    assert await store.get("s1") == a_session()
    assert await store.event_range() == (1, 0)


async def test_a_change_without_fields_is_a_new_version_all_the_same(store: Store) -> None:
    await store.add(a_session(), [])
    changed, events = await store.change("s1", 0, {}, [an_event()])
    assert changed == a_session(version=1)
    assert numbers(events) == [1]


@pytest.mark.parametrize("version", [0, 2, -1])
async def test_a_change_on_another_version_is_stale_and_writes_nothing(store: Store, version: int) -> None:
    await store.add(a_session(version=1), [])
    with pytest.raises(Stale) as stale:
        await store.change("s1", version, {"state": "terminating"}, [an_event()], [a_birth()])
    assert stale.value.current == a_session(version=1)
    assert await store.get("s1") == a_session(version=1)
    assert await store.event_range() == (1, 0)
    assert not await store.births()


async def test_a_change_of_nothing_is_stale_without_a_row(store: Store) -> None:
    with pytest.raises(Stale) as stale:
        await store.change("nobody", 0, {"reason": "x"})
    assert stale.value.current is None


async def test_events_and_births_are_written_with_the_change(store: Store) -> None:
    await store.add(a_session(), [])
    _, events = await store.change("s1", 0, {"birth": "1" * 20}, [an_event(), an_event()], [a_birth()])
    assert numbers(events) == [1, 2]
    assert list(await store.births()) == [a_birth()]


async def test_a_change_whose_event_cannot_be_written_changes_nothing(store: Store) -> None:
    await store.add(a_session(), [])
    with pytest.raises((TypeError, ValueError)):
        await store.change("s1", 0, {"state": "terminated"}, [an_event(), an_event(data={"x": object()})], [a_birth()])
    assert await store.get("s1") == a_session()
    assert await store.event_range() == (1, 0)
    assert not await store.births()


@pytest.mark.parametrize(
    "changes",
    [{"state": None}, {"provider": {"a": 1}}, {"touches": 2**70}, {"owner": "\ud800"}, {"labels": {"x": float("nan")}}],
    ids=["none", "no text", "too large", "no unicode", "no json"],
)
async def test_a_value_that_no_row_can_hold_fails_alone(store: Store, changes: dict[str, Any]) -> None:
    for n in range(3):
        await store.add(a_session(f"s{n}"), [])
    with pytest.raises((ValueError, OverflowError)):  # by itself
        await store.change("s0", 0, changes, [an_event("s0")])
    works = [store.change("s1", 0, {}), store.change("s0", 0, changes, [an_event("s0")]), store.change("s2", 0, {})]
    outcomes = await asyncio.gather(*works, return_exceptions=True)  # among others
    assert isinstance(outcomes[1], (ValueError, OverflowError))
    found = {one.id: one.version async for one in store.live()}
    assert found == {"s0": 0, "s1": 1, "s2": 1}
    assert await store.event_range() == (1, 0)


async def test_of_many_changes_of_one_version_one_is_made(store: Store) -> None:
    await store.add(a_session(), [])
    tries = [store.change("s1", 0, {"reason": str(n)}, [an_event(cause=str(n))]) for n in range(50)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    [(winner, events)] = [one for one in outcomes if not isinstance(one, BaseException)]
    losers = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, Stale) and one.current == winner for one in losers)
    assert len(losers) == 49
    assert await store.get("s1") == winner
    assert list(await store.events(after=0)) == list(events)


async def test_many_changes_at_once_fail_each_alone(store: Store) -> None:
    """Those that are stale, or not writable, take nobody with them."""
    for n in range(90):
        await store.add(a_session(f"s{n}"), [])

    async def one(n: int) -> int:
        if n % 3 == 1:
            with pytest.raises(Stale):
                await store.change(f"s{n}", 5, {"reason": "x"}, [an_event(f"s{n}")])
            return 0
        if n % 3 == 2:
            with pytest.raises((TypeError, ValueError)):
                await store.change(f"s{n}", 0, {"reason": "x"}, [an_event(f"s{n}", data={"x": object()})])
            return 0
        _, events = await store.change(f"s{n}", 0, {"reason": "x"}, [an_event(f"s{n}"), an_event(f"s{n}")])
        return len(events)

    assert sum(await asyncio.gather(*map(one, range(90)))) == 60
    written = await store.events(after=0)
    assert numbers(written) == list(range(1, 61))
    assert {event.session_id for event in written} == {f"s{n}" for n in range(0, 90, 3)}
    changed = [session.id async for session in store.live() if session.reason]
    assert sorted(changed) == sorted(f"s{n}" for n in range(0, 90, 3))


async def test_a_cancelled_change_is_made_whole_or_not_at_all(store: Store) -> None:
    await store.add(a_session(), [])
    task = asyncio.ensure_future(store.change("s1", 0, {"reason": "x"}, [an_event()], [a_birth()]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.note([])  # stands behind it in line
    session = await store.get("s1")
    assert session is not None
    made = session.version == 1
    assert (session.reason == "x") is made
    assert (await store.event_range() == (1, 1)) is made
    assert bool(await store.births()) is made


# -- live


async def test_live_gives_all_that_are_not_final(store: Store) -> None:
    states: list[SessionState] = [
        *("requested", "provisioning", "ready", "pausing", "paused", "resuming", "terminating"),
        *("terminated", "failed", "irrevocable"),
    ]
    for state in states:
        await store.add(a_session(state, state=state), [])
    found = {session.id async for session in store.live()}
    assert found == set(states) - {"terminated", "failed"}


async def test_live_goes_on_over_more_than_one_piece(store: Store) -> None:
    await asyncio.gather(*(store.add(a_session(f"s{n}"), []) for n in range(1_050)))
    found = [session.id async for session in store.live()]
    assert len(found) == len(set(found)) == 1_050


async def test_while_live_is_read_others_may_write(store: Store) -> None:
    await asyncio.gather(*(store.add(a_session(f"s{n}"), []) for n in range(50)))
    async for session in store.live():
        await store.change(session.id, session.version, {"reason": "x"})
    assert [one.version async for one in store.live()] == [1] * 50


async def test_live_may_be_left_in_the_middle(store: Store) -> None:
    await asyncio.gather(*(store.add(a_session(f"s{n}"), []) for n in range(50)))
    async for _ in store.live():
        break
    await store.change("s1", 0, {})


# -- page


async def test_pages_are_in_order_of_creation_and_have_each_session_once(store: Store) -> None:
    names = [f"s{n}" for n in range(25)]
    random.Random(7).shuffle(names)
    for name in names:
        await store.add(a_session(name, created_at=NOW - len(name)), [])
    for limit in (1, 7, 25, 100):
        assert await all_pages(store, limit=limit) == names


async def test_the_last_page_has_no_cursor(store: Store) -> None:
    assert (await store.page()).next_cursor is None
    for n in range(4):
        await store.add(a_session(f"s{n}"), [])
    first = await store.page(limit=2)
    assert first.next_cursor is not None
    second = await store.page(limit=2, cursor=first.next_cursor)
    assert [one.id for one in second.sessions] == ["s2", "s3"]
    assert second.next_cursor is None


async def test_pages_hold_what_matches(store: Store) -> None:
    rows = [
        a_session("a", owner="x", template="t", state="ready"),
        a_session("b", owner="y", template="t", state="paused"),
        a_session("c", owner="x", template="u", state="terminated"),
        a_session("d", owner=None, template=None, state="ready"),
    ]
    for row in rows:
        await store.add(row, [])
    assert await all_pages(store, owner="x") == ["a", "c"]
    assert await all_pages(store, template="t") == ["a", "b"]
    assert await all_pages(store, states=["ready", "terminated"]) == ["a", "c", "d"]
    assert await all_pages(store, owner="x", states=["ready"], template="t", limit=1) == ["a"]
    assert await all_pages(store, states=[]) == []
    assert await all_pages(store, owner="nobody") == []


async def test_sessions_that_come_meanwhile_neither_double_nor_hide_others(store: Store) -> None:
    for n in range(10):
        await store.add(a_session(f"s{n}"), [])
    seen: list[str] = []
    cursor = None
    for turn in range(100):
        page = await store.page(limit=3, cursor=cursor)
        seen += [one.id for one in page.sessions]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        if turn < 4:
            await store.add(a_session(f"new{turn}", created_at=NOW - 100), [])
            await store.change("s5", turn, {"state": "paused"})
    assert seen == [*(f"s{n}" for n in range(10)), *(f"new{n}" for n in range(4))]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-00000000", "-1-00000000", "zz-zz", "1-1-1", "١-00000000", "0x1-0"])
async def test_a_cursor_that_was_not_given_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidSpec):
        await store.page(cursor=cursor)


async def test_a_cursor_of_another_store_is_refused(store: Store, tmp_path: Any) -> None:
    from store_kit import IMPLEMENTATIONS

    for n in range(3):
        await store.add(a_session(f"s{n}"), [])
    cursor = (await store.page(limit=1)).next_cursor
    other = IMPLEMENTATIONS["sqlite"](tmp_path / "other")
    await other.open(name="other", now=NOW)
    try:
        with pytest.raises(InvalidSpec):
            await other.page(cursor=cursor)
    finally:
        await other.aclose()


async def test_a_cursor_holds_over_a_restart(make_store: Callable[[], Store]) -> None:
    first = make_store()
    await first.open(name="tests", now=NOW)
    for n in range(3):
        await first.add(a_session(f"s{n}"), [])
    cursor = (await first.page(limit=1)).next_cursor
    await first.aclose()
    second = make_store()
    await second.open(name="tests", now=NOW)
    assert [one.id for one in (await second.page(cursor=cursor)).sessions] == ["s1", "s2"]
    await second.aclose()


# -- spent


async def test_spent_counts_final_sessions_of_the_owner_that_ended_after_since(store: Store) -> None:
    rows = [
        a_session("a", owner="x", state="terminated", cost_settled=1.0, ended_at=NOW),
        a_session("b", owner="x", state="failed", cost_settled=2.0, ended_at=NOW + 1),
        a_session("c", owner="x", state="ready", cost_settled=4.0, ended_at=NOW),
        a_session("d", owner="x", state="terminated", cost_settled=8.0, ended_at=NOW - 10),
        a_session("e", owner="y", state="terminated", cost_settled=16.0, ended_at=NOW),
        a_session("f", owner="x", state="irrevocable", cost_settled=32.0, ended_at=NOW),
    ]
    for row in rows:
        await store.add(row, [])
    assert await store.spent("x", since=NOW - 10) == 3.0
    assert await store.spent("x", since=NOW) == 2.0
    assert await store.spent("x", since=NOW - 11) == 11.0
    assert await store.spent("nobody", since=0) == 0.0


# -- flush


async def test_activity_stands_by_maximum_and_counts_are_added(store: Store) -> None:
    await store.add(a_session(active_at=NOW, active_source="open", keep_until=NOW + 5, touches=1, version=3), [])

    async def after(*touches: TouchRow) -> Session:
        await store.flush(touches, now=NOW)
        found = await store.get("s1")
        assert found is not None
        return found

    newer = await after(TouchRow("s1", NOW + 10, "http", 2, NOW + 9))
    assert (newer.active_at, newer.active_source, newer.touches, newer.keep_until) == (NOW + 10, "http", 3, NOW + 9)
    older = await after(TouchRow("s1", NOW + 5, "ws", 4, NOW + 1))
    assert (older.active_at, older.active_source, older.touches, older.keep_until) == (NOW + 10, "http", 7, NOW + 9)
    without = await after(TouchRow("s1", NOW + 11, "gpu", 1))
    assert (without.active_at, without.active_source, without.keep_until) == (NOW + 11, "gpu", NOW + 9)
    assert without.version == 3


async def test_activity_of_a_session_that_had_none(store: Store) -> None:
    await store.add(a_session(), [])
    await store.flush([TouchRow("s1", NOW, "http", 1, NOW + 1)], now=NOW)
    assert await store.get("s1") == a_session(active_at=NOW, active_source="http", touches=1, keep_until=NOW + 1)


async def test_a_flush_between_reading_and_changing_makes_no_change_stale(store: Store) -> None:
    await store.add(a_session(), [])
    await store.flush([TouchRow("s1", NOW, "http", 1)], now=NOW)
    changed, _ = await store.change("s1", 0, {"reason": "x"})
    assert (changed.version, changed.active_at) == (1, NOW)


async def test_a_flush_touches_each_session_it_names_and_no_other(store: Store) -> None:
    for n in range(20):
        await store.add(a_session(f"s{n}"), [])
    rows = [TouchRow(f"s{n}", NOW + n, "http", n) for n in range(0, 20, 2)]
    await store.flush([*rows, TouchRow("nobody", NOW, "http", 1)], now=NOW)
    found = {session.id: session.touches async for session in store.live()}
    assert found == {f"s{n}": n if n % 2 == 0 else 0 for n in range(20)}


async def test_a_flush_notes_when_a_companion_lived_last_even_without_touches(make_store: Callable[[], Store]) -> None:
    first = make_store()
    assert (await first.open(name="tests", now=NOW)).alive_at is None
    await first.flush([], now=NOW + 5)
    assert (await first.custody()).alive_at == NOW + 5
    await first.aclose()
    second = make_store()
    assert (await second.open(name="tests", now=NOW + 99)).alive_at == NOW + 5
    await second.aclose()


async def test_a_flush_does_not_bring_back_what_a_change_writes_at_the_same_time(store: Store) -> None:
    for n in range(30):
        await store.add(a_session(f"s{n}"), [])
    touches = [TouchRow(f"s{n}", NOW + 1, "http", 1) for n in range(30)]
    changes = [store.change(f"s{n}", 0, {"state": "terminating"}) for n in range(30)]
    await asyncio.gather(*changes[:15], store.flush(touches, now=NOW), *changes[15:])
    async for session in store.live():
        assert (session.state, session.version, session.touches) == ("terminating", 1, 1)


# -- open and close


async def test_what_was_written_is_there_after_a_restart(make_store: Callable[[], Store]) -> None:
    first = make_store()
    custody = await first.open(name="tests", now=NOW)
    await first.add(a_full_session(), [an_event("full")], an_answer())
    await first.aclose()
    await first.aclose()
    second = make_store()
    again = await second.open(name="tests", now=NOW + 1)
    assert again == custody
    assert again.frozen == ""
    assert await second.get("full") == a_full_session()
    assert await second.event_range() == (1, 1)
    await second.aclose()


async def test_a_store_that_is_not_open_is_unavailable(make_store: Callable[[], Store]) -> None:
    closed = make_store()
    await closed.aclose()
    with pytest.raises(StoreUnavailable, match="not open"):
        await closed.get("s1")
    await closed.open(name="tests", now=NOW)
    await closed.aclose()
    with pytest.raises(StoreUnavailable, match="not open"):
        await closed.flush([], now=NOW)


async def test_closing_finishes_what_was_asked_before(make_store: Callable[[], Store]) -> None:
    first = make_store()
    await first.open(name="tests", now=NOW)
    adding = [asyncio.ensure_future(first.add(a_session(f"s{n}"), [])) for n in range(200)]
    await asyncio.sleep(0)
    await first.aclose()
    await asyncio.gather(*adding)
    second = make_store()
    await second.open(name="tests", now=NOW)
    assert len([one async for one in second.live()]) == 200
    await second.aclose()


async def test_two_deployments_have_two_random_ids(make_store: Callable[[], Store], tmp_path: Any) -> None:
    from store_kit import IMPLEMENTATIONS

    ids = set()
    for folder in ("one", "two"):
        made = IMPLEMENTATIONS["sqlite"](tmp_path / folder)
        ids.add((await made.open(name="same", now=NOW)).deployment_id)
        await made.aclose()
    assert len(ids) == 2
