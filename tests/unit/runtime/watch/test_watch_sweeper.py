"""Only what the journal knows to be over is swept, with care; what nobody can explain is shown; the rest is not touched."""

from __future__ import annotations

from typing import Any

import pytest
from watch_kit import Rig, older, run

from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.rules.sessions.freeze import STORE_NOT_CONFIRMED
from pulumi_atlas.runtime.settings import SessionTemplate

POD = ComputeSpec(command=("x",))


async def _over(rig: Rig, state: str = "terminated") -> Session:
    """A session that is over for a while, and whose pod is still there."""
    one = await rig.session()
    await rig.finish(one, state)
    await rig.clock.advance(700)
    return one


async def _rounds(rig: Rig, times: int = 1) -> None:
    for _ in range(times):
        await rig.sweeper.step()
        await rig.clock.advance(rig.settings.inspect_interval_s)


def _rig(**settings: Any) -> Rig:
    return Rig(**{"orphan_sweep": "on", **settings})


def _terminated(rig: Rig) -> list[str]:
    return [call.arguments["pod_id"] for call in rig.world.calls("terminate")]


@pytest.mark.parametrize("state", ["terminated", "failed"])
def test_a_pod_of_a_session_that_is_over_goes_after_two_sightings_with_an_event_before_and_a_proof_after(
    state: str,
) -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await _over(rig, state)
        written: list[list[str]] = []
        rig.sweeper._publish = lambda session, events: written.append(_terminated(rig))
        await rig.sweeper.step()
        await rig.sweeper.step()  # too soon to be a second sighting
        assert _terminated(rig) == [] and rig.sweeper.orphans()[0]["action"] == "wait"
        await rig.clock.advance(30)
        await rig.sweeper.step()
        assert _terminated(rig) == [rig.pod(one)]
        assert written == [[]]
        [event] = await rig.events(one, "note")
        assert (event.data["what"], event.data["pod_id"], event.actor) == ("sweep", one.pod_id, "reaper")
        assert [note.state for note in await rig.store.births()] == ["dead"]
        await rig.clock.advance(30)
        await rig.sweeper.step()
        assert [note.state for note in await rig.store.births()] == ["gone"]
        assert rig.sweeper.orphans() == []

    run(act())


def test_a_birth_that_its_session_no_longer_wants_is_swept_though_the_session_lives() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await rig.session()
        birth = new_birth()
        late = rig.world.plant(POD, tag=rig.tag(birth, one.id))
        note = rig.note(one, "dead")
        await rig.store.note_birth(older(note, 0, birth=birth, pod_id=None))
        await rig.clock.advance(700)
        await _rounds(rig, 3)
        assert _terminated(rig) == [late.id]
        assert rig.pod(one) in rig.pods()

    run(act())


def test_what_living_sessions_have_and_what_is_foreign_is_not_even_told_of() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        for state in ("requested", "provisioning", "ready", "pausing", "paused", "terminating", "irrevocable"):
            await rig.session(state=state)
        rig.world.plant(POD)
        rig.world.plant(POD, tag=Tag(new_birth(), Owner("deployment", "another")))
        rig.world.plant(POD, tag=Tag(new_birth(), Owner("manual", rig.deployment_id)))
        rig.world.plant(POD, tag=Tag(new_birth(), Owner("stack", rig.deployment_id)))
        await rig.clock.advance(5000)
        await _rounds(rig, 5)
        await rig.inspector.step()
        await _rounds(rig, 5)
        assert _terminated(rig) == [] and rig.sweeper.orphans() == []

    run(act())


def test_an_unknown_birth_is_listed_with_its_cost_and_never_touched() -> None:
    async def act() -> None:
        rig = await _rig(templates={"t": SessionTemplate(spec={"provider": "mock"})}).begin()
        birth = new_birth()
        begin = rig.clock.now()
        pod = rig.world.plant(POD, tag=rig.tag(birth, "lost"))
        await rig.clock.advance(100_000)
        await _rounds(rig, 5)
        assert rig.sweeper.orphans() == [
            {
                "provider": "mock", "account": None, "id": pod.id, "birth": birth, "status": "running",
                "cost_per_hour": pod.cost_per_hour, "since": begin,
                "why": "this store has no note of it: is it the right store?", "action": "none",
            }
        ]  # fmt: skip
        assert rig.sweeper.status() == {"mode": "on", "orphans": 1, "cost_per_hour": pod.cost_per_hour}
        assert _terminated(rig) == []
        rig.world.remove(pod.id)
        await _rounds(rig)
        assert rig.sweeper.orphans() == []

    run(act())


@pytest.mark.parametrize(("mode", "action"), [("off", "none"), ("dry_run", "would_terminate")])
def test_a_mode_that_does_not_sweep_only_tells(mode: str, action: str) -> None:
    async def act() -> None:
        rig = await _rig(orphan_sweep=mode).begin()
        await _over(rig)
        await _rounds(rig, 5)
        assert [row["action"] for row in rig.sweeper.orphans()] == [action]
        assert _terminated(rig) == [] and await rig.events(kind="note") == []

    run(act())


def test_a_young_one_waits_until_it_is_old_enough_by_the_provider_and_by_our_note() -> None:
    async def act() -> None:
        rig = await _rig(orphan_min_age_s=600).begin()
        one = await rig.session()
        await rig.finish(one)
        await _rounds(rig, 20)
        assert _terminated(rig) == []
        assert "younger than 600 s" in rig.sweeper.orphans()[0]["why"]
        await rig.store.note_birth(older(rig.note(one), 0))  # as if noted now
        await _rounds(rig, 19)
        assert _terminated(rig) == []
        await _rounds(rig, 2)
        assert _terminated(rig) == [rig.pod(one)]

    run(act())


def test_an_incomplete_listing_sweeps_nothing_and_one_that_lacks_it_begins_anew() -> None:
    async def act() -> None:
        rig = await _rig(orphan_sightings=3).begin()
        one = await _over(rig)
        await _rounds(rig, 2)
        rig.world.configure(listing_complete=False)
        await _rounds(rig, 5)
        assert _terminated(rig) == []
        rig.world.configure(listing_complete=True, hidden=[rig.pod(one)])
        await _rounds(rig, 1)
        rig.world.configure(hidden=[])
        await _rounds(rig, 2)
        assert _terminated(rig) == []
        await _rounds(rig, 1)
        assert _terminated(rig) == [rig.pod(one)]

    run(act())


def test_a_few_in_each_round_and_under_the_cap_of_all_kills() -> None:
    async def act() -> None:
        rig = await _rig(orphan_max_per_cycle=2, max_kills_per_minute=3, inspect_interval_s=10).begin()
        for _ in range(6):
            await _over(rig)
        await _rounds(rig, 2)
        assert len(_terminated(rig)) == 2
        assert "2 are removed in one round" in "".join(row["why"] for row in rig.sweeper.orphans())
        await _rounds(rig)
        assert len(_terminated(rig)) == 3
        await _rounds(rig, 3)
        assert len(_terminated(rig)) == 3
        await _rounds(rig, 12)
        assert len(_terminated(rig)) == 6

    run(act())


def test_nothing_is_swept_under_a_freeze_nor_when_the_store_does_not_take_the_event() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await _over(rig)
        rig.freeze.hold(STORE_NOT_CONFIRMED)
        await _rounds(rig, 4)
        assert _terminated(rig) == [] and "not now: store not confirmed" in rig.sweeper.orphans()[0]["why"]
        assert [note.state for note in await rig.store.births()] == ["held"]
        rig.freeze.lift(STORE_NOT_CONFIRMED)
        note = rig.store.note

        async def full(events: list[SessionEvent]) -> Any:
            rig.store.fail()
            return await note(events)

        rig.store.note = full  # type: ignore[method-assign,assignment]
        await _rounds(rig)
        assert _terminated(rig) == []
        rig.store.note = note  # type: ignore[method-assign]
        rig.store.fail("")
        await _rounds(rig)
        assert _terminated(rig) == [rig.pod(one)]
        assert rig.gate.kills.count(rig.clock.monotonic()) == 1

    run(act())


def test_a_pod_that_carries_another_birth_when_asked_for_again_is_left_alone() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await _over(rig)
        provider = rig.open("mock").provider
        get = provider.get_compute

        async def other(pod_id: Any) -> Compute:
            found: Compute = await get(pod_id)
            return found.model_copy(update={"birth": new_birth()})

        provider.get_compute = other
        await _rounds(rig, 4)
        assert _terminated(rig) == []
        provider.get_compute = get
        await _rounds(rig)
        assert _terminated(rig) == [rig.pod(one)]

    run(act())


def test_a_terminate_that_fails_is_told_and_tried_again_and_nothing_is_proven_by_it() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await _over(rig)
        rig.world.fail_next("terminate", "provider", times=2)
        await _rounds(rig, 3)
        assert "could not be terminated" in rig.sweeper.orphans()[0]["why"]
        assert rig.pod(one) in rig.pods()
        assert [note.state for note in await rig.store.births()] == ["dead"]
        await _rounds(rig, 2)
        assert rig.pod(one) not in rig.pods()
        assert [note.state for note in await rig.store.births()] == ["gone"]

    run(act())


def test_a_birth_noted_in_another_account_or_of_a_forgotten_session_is_for_a_person() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        one = await _over(rig)
        await rig.store.note_birth(older(rig.note(one, "dead"), 700, identity="mock:another"))
        await _rounds(rig, 3)
        assert [row["action"] for row in rig.sweeper.orphans()] == ["none"]
        await rig.store.note_birth(older(rig.note(one, "held"), 700, session_id="pruned"))
        await _rounds(rig, 3)
        assert [row["why"] for row in rig.sweeper.orphans()] == ["its session is not in this store"]
        assert _terminated(rig) == []

    run(act())


def test_a_dead_birth_counts_as_gone_only_when_it_is_old_and_nowhere() -> None:
    async def act() -> None:
        rig = await _rig(orphan_min_age_s=600).begin()
        one = await rig.session()
        await rig.store.note_birth(older(rig.note(one, "dead"), 0, birth="00000000000000000001", pod_id=None))
        rig.world.configure(hidden=[rig.pod(one)])
        two = older(rig.note(one, "dead"), 0, birth="00000000000000000002")  # its pod is found when asked for
        await rig.store.note_birth(two)
        await _rounds(rig, 10)
        assert {note.state for note in await rig.store.births()} == {"held", "dead"}
        rig.world.configure(listing_complete=False)
        await _rounds(rig, 12)
        assert {note.state for note in await rig.store.births()} == {"held", "dead"}
        rig.world.configure(listing_complete=True)
        await _rounds(rig)
        states = {note.birth: note.state for note in await rig.store.births()}
        assert states["00000000000000000001"] == "gone" and states["00000000000000000002"] == "dead"

    run(act())


def test_the_inspectors_listing_serves_the_sweep_too() -> None:
    async def act() -> None:
        rig = await _rig().begin()
        await rig.session()
        rig.world.clear_calls()
        async with rig.watching(rig.inspector, rig.sweeper):
            await rig.clock.advance(299)
        assert len(rig.world.calls("list_compute")) == 10

    run(act())


def test_an_account_where_no_session_is_left_is_looked_at_also_by_the_next_companion() -> None:
    """As after a restore: pods that the backup does not know may be where all its own sessions have ended."""

    async def act() -> None:
        rig = await Rig(orphan_sweep="on").begin()
        one = await rig.session()
        await rig.finish(one)
        rig.world.remove(rig.pod(one))
        await rig.store.note_birth(rig.note(one, "gone"))
        lost = rig.world.plant(ComputeSpec(), tag=rig.tag(new_birth(), "s9"))
        again = Rig(rig.store.after_crash(), rig.world, orphan_sweep="on")
        await again.begin()
        await again.sweeper.step()
        assert [row["id"] for row in again.sweeper.orphans()] == [lost.id]

    run(act())
