"""The first promise: whatever happens to a creation, no machine is forgotten, none is rented twice, and none in use is killed.

Hypothesis plays the engine, the cloud's moods and the grim reaper. Each rule is one run of the provider process over the
real `Creator` and `IntentBook`; `state` is what the engine has in its state file.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pulumi_atlas.access import Access
from pulumi_atlas.client import IntentBook, Stop, kinds
from pulumi_atlas.client.core import Core
from pulumi_atlas.client.creation import Creation, Creator
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, Conflict, Interrupted, NotFound, ProviderFailure, TimedOut
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers.mock import World
from pulumi_atlas.rules import ownership

from ._clouds import Crash, LaggingMock, Processes, SimClock

NAMES = ("trainer", "server", "worker")
SPEC = ComputeSpec(image="busybox")

#: Where the process is killed: a numbered step of `Creator.create`; 3 and 4 lie inside the provider, around the effect.
STEPS = st.sampled_from([None, None, None, "1", "2", "3", "4", "5", "6", "7", "8"])

#: What the cloud does with the create: kind of error, and whether the effect happened.
MOODS = st.sampled_from(
    [
        *(None, None, None, ("unknown_outcome", True), ("unknown_outcome", False), ("interrupted", True)),
        *(("no_capacity", False), ("transport", False), ("insufficient_funds", False)),
    ]
)

#: What becomes of the wait for a usable pod.
WAITS = st.sampled_from(["usable", "usable", "usable", "failed", "timed_out", "interrupted", "killed", "broken"])

#: Further trouble: an operation, its kind, how often, whether its effect happened.
TROUBLE = st.sampled_from(
    [
        *(None, None, None, ("list_compute", "transport", 1, False), ("list_compute", "rate_limited", 3, False)),
        *(("terminate", "transport", 2, False), ("terminate", "unknown_outcome", 1, True)),
        ("*", "transport", 4, False),
    ]
)


class CreatorMachine(RuleBasedStateMachine):
    """One stack with three declared pods, on a cloud that lags and fails, in processes that die."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.processes = Processes()
        self.processes.install(self.patch)
        self.folder = Path(tempfile.mkdtemp(prefix="atlas-creator-"))
        self.book = IntentBook(self.folder)
        self.world = World.fresh()
        self.clock = SimClock(self.world)
        self.state: dict[str, tuple[str, str]] = {}
        self.doomed: set[str] = set()  # pods whose delete was begun, with an unknown end
        self.stranger = self.world.plant(SPEC)

    @initialize(
        listing_lag_s=st.sampled_from([0.0, 5.0, 29.0]),
        terminate_lag_s=st.sampled_from([0.0, 4.0, 3600.0]),
        provision_s=st.sampled_from([0.0, 3.0]),
    )
    def a_cloud(self, listing_lag_s: float, terminate_lag_s: float, provision_s: float) -> None:
        self.world.configure(listing_lag_s=listing_lag_s, terminate_lag_s=terminate_lag_s, provision_s=provision_s)

    # ---- what happens

    @rule(
        name=st.sampled_from(NAMES),
        step=STEPS,
        mood=MOODS,
        wait=WAITS,
        trouble=TROUBLE,
        noted=st.booleans() | st.just(True),
        read_again=st.booleans(),
    )
    def up(self, name: str, step: Any, mood: Any, wait: str, trouble: Any, noted: bool, read_again: bool) -> None:
        """The engine creates what its state lacks, or (forced) makes another one before it removes the old one.

        `noted`: the engine lives long enough to write the answer into its state; `read_again`: and a later check, diff
        or read shows that to us.
        """
        self._up(name, step, mood, wait, trouble, noted=noted, read_again=read_again)

    @rule(name=st.sampled_from(NAMES), read_again=st.booleans())
    def up_in_good_weather(self, name: str, read_again: bool) -> None:
        """As most of the time."""
        self._up(name, None, None, "usable", None, noted=True, read_again=read_again)

    def _up(self, name: str, step: Any, mood: Any, wait: str, trouble: Any, *, noted: bool, read_again: bool) -> None:
        tag = Tag(new_birth(), _owner(name))
        if mood:
            self.world.fail_next("create_compute", mood[0], after_effect=mood[1])
        if trouble:
            self.world.fail_next(trouble[0], trouble[1], times=trouble[2], after_effect=trouble[3])
        before = self._births_in_use()
        with self.processes.process(step) as writer:
            made = self._run(self._create(tag, name, step, wait))
            if made is not None and noted and not read_again:
                self.book.note_end(writer)  # the engine ends it in good order, and tells nothing more
        self.world.clear_faults()
        assert before <= {pod.birth for pod in self._alive()}, "a pod that the state holds was removed by a create"
        if made is not None:
            assert made.birth == tag.birth
            assert made.id in {pod.id for pod in self._alive()}, "a pod was handed over that is not there"
            if noted:
                old = self.state.get(name)
                self.state[name] = (made.id, tag.birth)
                if read_again:
                    self.book.close(tag.birth)  # a later check with olds
                if old:
                    self._in_process(self._delete(*old))

    @rule(name=st.sampled_from(NAMES), wait=WAITS)
    def two_ups_at_once(self, name: str, wait: str) -> None:
        """While one process waits for its pod, another one wants to create the same."""
        if self.book.of_owner(_owner(name)) or name in self.state:
            return
        first, second = Tag(new_birth(), _owner(name)), Tag(new_birth(), _owner(name))
        refused: list[str] = []

        async def meanwhile() -> None:
            with self.processes.process():
                try:
                    await self._create(second, name, None, "usable")
                except Conflict as error:
                    refused.append(str(error))

        made = self._in_process(self._create(first, name, None, wait, meanwhile=meanwhile()))
        assert refused, "a second run was let in while the first one was at work"
        if made is not None:
            self.state[name] = (made.id, first.birth)
            self.book.close(first.birth)

    @precondition(lambda self: self.state)
    @rule(data=st.data(), trouble=TROUBLE)
    def destroy(self, data: st.DataObject, trouble: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.state)))
        if trouble:
            self.world.fail_next(trouble[0], trouble[1], times=trouble[2], after_effect=trouble[3])
        ident, birth = self.state[name]
        if self._in_process(self._delete(ident, birth)):
            del self.state[name]
            assert ident not in {pod.id for pod in self._alive()}
        else:
            self.doomed.add(ident)
        self.world.clear_faults()

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def somebody_deletes_in_the_console(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.state)))
        ident, birth = self.state.pop(name)  # the next refresh sees it
        with contextlib.suppress(NotFound):  # a delete with an unknown end may have removed it
            self.world.remove(ident)
        self.book.close(birth)

    @rule(seconds=st.sampled_from([0.5, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(trouble=TROUBLE, crash=st.booleans())
    def recover(self, trouble: Any, crash: bool) -> None:
        """`atlas doctor --recover`: the state is known, and every leftover is judged by it."""
        if trouble:
            self.world.fail_next(trouble[0], trouble[1], times=trouble[2], after_effect=trouble[3])
        before = self._births_in_use()
        self._in_process(self._recover(crash_after=1 if crash else None))
        self.world.clear_faults()
        assert before <= {pod.birth for pod in self._alive()}, "recovery killed a pod that the state holds"

    # ---- what must hold

    @invariant()
    def nothing_is_forgotten(self) -> None:
        known = {birth for _, birth in self.state.values()} | {intent.birth for intent in self.book.unclosed()}
        forgotten = [pod.id for pod in self._ours() if pod.birth not in known]
        assert not forgotten, f"costs money, and neither the state nor an intent knows of it: {forgotten}"

    @invariant()
    def nothing_is_rented_twice(self) -> None:
        for name in NAMES:
            held = self.state.get(name)
            spare = [p.id for p in self._ours() if p.owner == _owner(name) and (held is None or p.id != held[0])]
            assert len(spare) <= 1, f"two pods of {name} that the state does not hold: {spare}"

    @invariant()
    def what_is_in_use_is_there(self) -> None:
        missing = {ident for ident, _ in self.state.values()} - {pod.id for pod in self._alive()} - self.doomed
        assert not missing, f"killed although the state holds it: {missing}"
        assert self.stranger.id in {pod.id for pod in self._alive()}, "a stranger's pod was touched"

    def teardown(self) -> None:
        """At last everything works again: recovery leaves exactly what the state holds, and no note."""
        try:
            self.world.clear_faults()
            self.world.configure(provision_s=0.0)
            for name in [name for name, (ident, _) in self.state.items() if ident in self.doomed]:
                assert self._in_process(self._delete(*self.state.pop(name))), "a delete cannot be repeated"
            self._in_process(self._recover())
            assert {pod.id for pod in self._ours()} == {ident for ident, _ in self.state.values()}
            assert not list(self.book.unclosed())
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- how

    def _in_process(self, work: Coroutine[Any, Any, Any], crash_at: str | None = None) -> Any:
        """Run as a process of its own. None when it was killed or failed as it may fail."""
        with self.processes.process(crash_at):
            return self._run(work)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return asyncio.run(work)
        except (Crash, Broken, AtlasError):
            return None

    async def _create(
        self, tag: Tag, name: str, step: str | None, wait: str, meanwhile: Coroutine[Any, Any, None] | None = None
    ) -> Compute:
        provider, opened = self._opened()
        provider.crash = step

        async def until_usable(pod: Compute) -> Compute:
            if meanwhile is not None:
                await meanwhile
            await self.clock.sleep(2.0)
            if wait in _ENDS:
                raise _ENDS[wait]
            return pod

        creator = Creator(opened, self.book, self.clock, Stop())
        try:
            return await creator.create(Creation(kinds.POD, SPEC, tag, name, until_usable))
        finally:
            if meanwhile is not None:
                meanwhile.close()

    async def _delete(self, ident: str, birth: str) -> bool:
        _, opened = self._opened()
        core = Core(environ={"ATLAS_STATE_DIR": str(self.folder)}, cwd=self.folder, clock=self.clock)
        await core.delete(kinds.POD, opened, ident, identity=await opened.identity(), birth=birth)
        return True

    async def _recover(self, crash_after: int | None = None) -> None:
        _, opened = self._opened()
        creator = Creator(opened, self.book, self.clock, Stop())
        births = {birth for _, birth in self.state.values()}
        for place, intent in enumerate(list(self.book.unclosed())):
            if crash_after is not None and place >= crash_after:
                raise Crash
            verdict = ownership.on_recovery(self.book.leftover(intent), in_state=intent.birth in births)
            assert verdict in ("close", "remove")
            if verdict == "remove":
                await creator.remove_birth(kinds.POD, intent)
            else:
                self.book.close(intent.birth)

    def _opened(self) -> tuple[LaggingMock, Opened]:
        provider = LaggingMock(self.world)
        return provider, Opened(provider, Access("mock"), self.clock)

    def _births_in_use(self) -> set[str]:
        return {birth for ident, birth in self.state.values() if ident not in self.doomed}

    def _alive(self) -> list[Compute]:
        return [pod for pod in self.world.pods.values() if pod.status != "terminated"]

    def _ours(self) -> list[Compute]:
        return [pod for pod in self._alive() if pod.owner is not None]


class Broken(Exception):
    """A mistake in a program: no error of ours."""


_ENDS: dict[str, BaseException] = {
    "failed": ProviderFailure("it failed"),
    "timed_out": TimedOut("it took too long"),
    "interrupted": Interrupted("SIGINT"),
    "killed": Crash(),
    "broken": Broken("a mistake"),
}


def _owner(name: str) -> Owner:
    return Owner("stack", "5afe5afe5afe5afe", f"atlas:Pod::{name}")


TestCreator = CreatorMachine.TestCase
TestCreator.settings = settings(stateful_step_count=20)
