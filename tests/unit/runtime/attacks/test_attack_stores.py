"""A store that may be a copy rents nothing and stops nothing; a second pod of one birth is not overlooked."""

from __future__ import annotations

import pytest
from core_kit import CrashAt, Stage, play
from watch_kit import Rig, run

from pulumi_atlas.models import ComputeSpec


@pytest.mark.parametrize("verb", ["rotate", "extend", "extend_lifetime"])
def test_a_verb_that_asks_for_no_pod_rents_none_in_a_store_that_nobody_confirmed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    crash_at = CrashAt(monkeypatch, stage)

    async def act() -> None:
        crash_at.at("session.create.2")
        session = (await stage.open()).session
        await stage.clock.settle()
        assert crash_at.after is not None
        crash_at.after.freeze("it is a copy")
        await crash_at.restart()
        await stage.clock.advance(30)
        assert stage.calls("create_compute") == 0
        if verb == "rotate":
            await stage.companion.rotate(session.id, actor="key:k1")
        elif verb == "extend":
            await stage.companion.extend(session.id, 600, actor="key:k1", bounded=True)
        else:
            await stage.companion.extend_lifetime(session.id, 600, actor="key:k1")
        await stage.clock.advance(60)
        assert stage.calls("create_compute") == 0
        await stage.companion.confirm_store()
        await stage.advance_until(session.id, "ready", most_s=60)

    play(stage, act)


def test_in_a_store_that_nobody_confirmed_a_user_may_still_close(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_at = CrashAt(monkeypatch, stage)

    async def act() -> None:
        crash_at.at("session.create.4")
        session = (await stage.open()).session
        await stage.clock.settle()
        assert crash_at.after is not None
        crash_at.after.freeze("it is a copy")
        await crash_at.restart()
        await stage.companion.close(session.id, actor="key:k1")
        await stage.advance_until(session.id, "terminated", most_s=60)
        assert not stage.pods()

    play(stage, act)


def test_a_second_pod_of_one_birth_is_shown_to_a_person() -> None:
    """A cloud that rented twice for one request: the session has one of them, and nobody the other."""

    async def act() -> None:
        rig = await Rig(orphan_sweep="on", orphan_min_age_s=60).begin()
        session = await rig.session()
        spec = ComputeSpec(command=("x",))
        twin = rig.world.plant(spec, tag=rig.tag(str(session.birth), session.id))
        for _ in range(4):
            await rig.inspector.step()
            await rig.sweeper.step()
            await rig.clock.advance(60)
        (row,) = rig.sweeper.orphans()
        assert row["id"] == twin.id and row["action"] == "none"
        assert rig.pods()[session.pod_id or ""].status == "running"
        await rig.finish(session)
        rig.world.set_status(str(session.pod_id), "terminated")
        for _ in range(6):
            await rig.inspector.step()
            await rig.sweeper.step()
            await rig.clock.advance(60)
        assert twin.id not in rig.pods()

    run(act())
