"""What may go wrong around a companion for hours: each time nothing ends that should not, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import itertools
import resource
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.errors import AtlasError
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec, Listing
from pulumi_atlas.models.session import Session
from pulumi_atlas.runtime.store.contract import StoreUnavailable
from tests.faults.sessions_stage import Stage, stage

pytestmark = pytest.mark.faults

_HOUR = 3600.0
_ENDS = ("terminating", "pausing")


def play(folder: Path, act: Callable[[Stage], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def whole(made: Stage) -> None:
        await made.start()
        try:
            await act(made)
        finally:
            await made.end()

    with stage(folder, **{"flush_interval_s": 30, **settings}) as made:  # few writes, so that hours pass fast
        asyncio.run(whole(made))


async def use(made: Stage, idents: list[str], seconds: float, *, every_s: float = 60.0) -> None:
    """Let time pass while these sessions are in use."""
    end = made.clock.monotonic() + seconds
    while made.clock.monotonic() < end:
        await made.clock.advance(every_s)
        for ident in idents:
            await made.companion.touch(ident, "http")


def ends(made: Stage) -> list[tuple[float, str, str]]:
    """From now on, each end: when (monotonic), of which session, and why."""
    found: list[tuple[float, str, str]] = []

    def told(session: Session, events: Any) -> None:
        if session.state in _ENDS and any(event.kind == "status" for event in events):
            found.append((made.clock.monotonic(), session.id, session.cause))

    made.listeners.append(told)
    made.companion.ledger.listeners.append(told)
    return found


def test_six_hours_without_the_provider_end_nothing_and_its_return_makes_no_storm(tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        cap = 5
        busy, left = await made.ready(15, idle_ttl_s=900), await made.ready(15, idle_ttl_s=900)
        ended = ends(made)
        with made.world.outage():
            await use(made, busy, 6 * _HOUR)
            assert ended == []
            assert made.companion.status()["outages"]
        back_at = made.clock.monotonic()
        await use(made, busy, 900)
        assert {ident for _, ident, _ in ended} == set(left)
        times = [at for at, _, _ in ended]
        assert times[0] >= back_at + 120, "whoever was kept away gets grace"
        assert all(late - early >= 60 for early, late in zip(times, itertools.islice(times, cap, None), strict=False))
        states = await made.states()
        assert {states[ident] for ident in busy} == {"ready"}
        assert {states[ident] for ident in left} == {"terminated"}
        assert len(made.ours()) == len(busy)

    play(tmp_path, act, max_kills_per_minute=5, max_lifetime_s=None)


@pytest.mark.parametrize("how", ["empty", "part", "says it is complete", "fails", "another account"])
def test_no_inventory_ends_a_session_whose_pod_is_there(how: str, tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        idents = await made.ready(6, idle_ttl_s=900)
        ended = ends(made)

        def broken(listing: Listing[Any]) -> Listing[Any]:
            pods = list(listing)[::2] if how == "part" else []
            return Listing(pods, listing.account, complete=how == "says it is complete")

        if how == "fails":
            made.world.fail_next("list_compute", "provider", times=None)
        elif how == "another account":
            made.world.switch_account("another")
        else:
            made.cut = broken
        await use(made, idents, 1800)
        await made.crash()
        await made.start()
        await use(made, idents, 1200)
        assert ended == [] and set((await made.states()).values()) == {"ready"}
        made.world.clear_faults()
        made.world.switch_account(None)
        made.cut = None
        await use(made, idents, 600)
        assert ended == [] and len(made.ours()) == 6

    play(tmp_path, act, orphan_sweep="on", max_lifetime_s=None)


def test_foreign_things_are_left_alone(tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        assert made.companion.custody is not None
        ours = made.companion.custody.deployment_id
        owners = [
            Owner("deployment", "0" * 16, "session/sx"), Owner("stack", "org/project/dev", "pod"),
            Owner("manual", "somebody", ""), Owner("stack", ours, "session/sx"),
        ]  # fmt: skip
        foreign = [made.world.plant(ComputeSpec(), tag=Tag(new_birth(), owner)).id for owner in owners]
        foreign += [made.world.plant(ComputeSpec()).id, made.world.plant(ComputeSpec(), account="another").id]
        idents = await made.ready(4, idle_ttl_s=300)
        await made.companion.close(idents[0], actor="key:k1")
        await made.clock.advance(_HOUR)
        await made.crash()
        await made.start()
        await made.clock.advance(_HOUR)
        assert set((await made.states()).values()) == {"terminated"}
        assert made.pods().keys() == set(foreign)
        assert await made.companion.orphans() == []

    play(tmp_path, act, orphan_sweep="on", orphan_min_age_s=1)


def test_a_fresh_store_beside_pods_of_the_right_one_kills_none_of_them(tmp_path: Path) -> None:
    """A mistyped path: whatever a fresh store does not know is not its own."""

    async def act(made: Stage) -> None:
        old = await made.ready(3, idle_ttl_s=300)
        await made.stop()
        right = made.path
        await made.start(tmp_path / "mistyped" / "sessions.db")
        theirs = set(made.ours())
        (own,) = await made.ready(1, idle_ttl_s=300)
        await made.clock.advance(3 * _HOUR)
        assert (await made.states())[own] == "terminated"
        assert set(made.ours()) == theirs and len(theirs) == 3
        await made.stop()
        await made.start(right)
        await use(made, old, 600)
        assert set((await made.states()).values()) == {"ready"}

    play(tmp_path, act, orphan_sweep="on", orphan_min_age_s=1)


def test_a_copied_store_kills_nothing_until_it_is_confirmed_and_never_what_it_does_not_know(tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        idents = await made.ready(3, idle_ttl_s=300)
        await made.stop()
        copy = tmp_path / "copy" / "sessions.db"
        copy.parent.mkdir(mode=0o700)
        for suffix in ("", ".keys"):
            if made.path.with_name(made.path.name + suffix).exists():
                shutil.copy(made.path.with_name(made.path.name + suffix), copy.with_name(copy.name + suffix))
        await made.start()
        (younger,) = await made.ready(1, idle_ttl_s=300)  # the copy does not know it
        younger_pod = (await made.rows())[younger].pod_id
        await made.companion.close(idents[0], actor="key:k1")
        await made.clock.advance(30)
        await made.crash()

        ended = ends(made)
        await made.start(copy)
        await made.clock.advance(3 * _HOUR)
        assert ended == [] and len(made.ours()) == 3
        assert (await made.companion.orphans())[0]["id"] == younger_pod
        assert made.companion.plan()["frozen"]
        await made.crash()
        await made.start(copy)
        await made.clock.advance(_HOUR)
        assert ended == [] and len(made.ours()) == 3

        await made.companion.confirm_store()
        await made.clock.advance(_HOUR)
        assert {ident for _, ident, _ in ended} == set(idents)
        assert set(made.ours()) == {younger_pod}
        (row,) = await made.companion.orphans()
        assert (row["id"], row["action"]) == (younger_pod, "none") and row["cost_per_hour"] is not None

    play(tmp_path, act, orphan_sweep="on", orphan_min_age_s=1)


def test_a_terminate_that_never_succeeds_is_listed_for_ever_with_its_cost(tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        (ident,) = await made.ready(1, idle_ttl_s=300, spec={"gpu": ["a100_80g"]})
        made.world.fail_next("terminate", "provider", times=None)
        await made.companion.close(ident, actor="key:k1")
        costs = []
        for restart in (made.crash, made.stop, made.crash):
            await made.clock.advance(6 * _HOUR)
            (row,) = made.companion.irrevocable()
            assert (row["id"], row["state"]) == (ident, "irrevocable")
            costs.append(row["cost"])
            asked = len(made.world.calls("terminate"))
            await made.clock.advance(_HOUR)
            assert 3 <= len(made.world.calls("terminate")) - asked <= 5
            await restart()
            await made.start()
        rate = next(iter(made.ours().values())).cost_per_hour
        assert rate is not None
        assert [late - early for early, late in itertools.pairwise(costs)] == pytest.approx([7 * rate] * 2, rel=0.01)
        made.world.clear_faults()
        await made.clock.advance(1000)
        assert made.companion.irrevocable() == [] and made.ours() == {}
        assert (await made.states())[ident] == "terminated"

    play(tmp_path, act)


@pytest.mark.parametrize("crashes", [False, True])
def test_clocks_that_jump_by_an_hour_end_nobody_early(crashes: bool, tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        busy, left = await made.ready(4, idle_ttl_s=900), await made.ready(4, idle_ttl_s=2000)
        ended = ends(made)
        began = made.clock.monotonic()
        for number, by in enumerate((3600, -3600, 3600, 3600, -3600, -3600)):
            made.clock.jump(by)
            await use(made, busy, 150, every_s=50)
            if crashes and number % 2 == 0:
                await made.crash()
                await made.start()
            await use(made, busy, 100, every_s=50)
        assert ended == []
        await use(made, busy, 2500 if crashes else 1500)  # a death gives each its whole idle time anew
        assert {ident for _, ident, _ in ended} == set(left)
        assert ended[0][0] >= began + 2000 - 1
        assert {(await made.states())[ident] for ident in busy} == {"ready"}

    play(tmp_path, act, max_lifetime_s=None)


@pytest.mark.parametrize("long_s", [0.0, 6 * _HOUR])
def test_what_a_restart_or_a_jump_forgave_stays_forgiven(long_s: float, tmp_path: Path) -> None:
    """A long while without a companion (or a clock that leaps), a start, and another one soon after."""

    async def act(made: Stage) -> None:
        (ident,) = await made.ready(1, idle_ttl_s=3000)
        ended = ends(made)
        active_at = made.clock.monotonic()
        await made.clock.advance(60)
        if long_s:
            await made.stop()
            await made.clock.advance(long_s)
            await made.start()
        else:
            made.clock.jump(6 * _HOUR)
        await made.clock.advance(10)
        await made.stop()
        await made.start()
        await made.clock.advance(2500)
        assert ended == []
        await made.clock.advance(1000)
        assert [one for _, one, _ in ended] == [ident]
        assert ended[0][0] - active_at >= 3000 + long_s - 6

    play(tmp_path, act, max_lifetime_s=None, flush_interval_s=5)


@contextmanager
def full_disk(made: Stage) -> Iterator[None]:
    """No file may grow beyond what the store's journal has now: the writes fail for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = made.path.with_name(f"{made.path.name}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def failing_writes(made: Stage) -> Iterator[None]:
    """Every write raises what the contract says."""

    async def full(*args: Any, **kwargs: Any) -> None:
        raise StoreUnavailable("no space left")

    store = made.companion.store
    names = ("add", "change", "flush", "note", "note_birth")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(store, name, full)
        yield


@pytest.mark.parametrize("full", [failing_writes, full_disk])
def test_a_full_disk_ends_nobody_takes_touches_and_loses_nothing_acknowledged(full: Any, tmp_path: Path) -> None:
    async def act(made: Stage) -> None:
        made.companion.ledger.store = made.companion.store
        busy, left = await made.ready(3, idle_ttl_s=200), await made.ready(3, idle_ttl_s=200)
        events = await made.store.events(after=0, limit=10_000)
        ended = ends(made)
        with full(made):
            await use(made, busy, 1000)
            with pytest.raises(AtlasError):
                await made.open()
            with pytest.raises(AtlasError):
                await made.companion.close(busy[0], actor="key:k1")
            assert ended == []
            assert made.companion.status()["frozen"]
        await use(made, busy, 60, every_s=20)
        assert {ident for _, ident, _ in ended} == set(left)
        await made.crash()
        await made.start()
        await use(made, busy, 120)
        rows = await made.rows()
        assert {rows[ident].state for ident in busy} == {"ready"} and rows.keys() == {*busy, *left}
        assert all(rows[ident].touches >= 16 for ident in busy)
        assert list(await made.store.events(after=0, limit=10_000))[: len(events)] == list(events)
        assert len(made.ours()) == 3

    play(tmp_path, act, max_lifetime_s=None, flush_interval_s=5)
