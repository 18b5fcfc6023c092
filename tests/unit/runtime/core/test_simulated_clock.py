"""The clock of these tests: time passes only as it is told, and everything due runs in its order."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pulumi_atlas.testing.clock import SimulatedClock


def test_sleepers_wake_in_their_order_and_see_their_own_time() -> None:
    async def act() -> None:
        clock, woken = SimulatedClock(), []

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((seconds, clock.monotonic()))

        tasks = [asyncio.create_task(sleeper(one)) for one in (5.0, 1.0, 3.0)]
        await clock.advance(3.5)
        assert woken == [(1.0, 1.0), (3.0, 3.0)]
        assert clock.monotonic() == 3.5
        await clock.advance(1.5)
        assert woken[-1] == (5.0, 5.0)
        assert all(task.done() for task in tasks)

    asyncio.run(act())


def test_what_a_sleeper_causes_runs_before_time_goes_on() -> None:
    async def act() -> None:
        clock, seen = SimulatedClock(), []

        async def chain() -> None:
            for _ in range(3):
                await clock.sleep(1.0)
                await asyncio.sleep(0)
                seen.append(clock.monotonic())

        task = asyncio.create_task(chain())
        await clock.advance(10)
        assert seen == [1.0, 2.0, 3.0]
        assert task.done()

    asyncio.run(act())


def test_the_wall_jumps_apart_from_the_monotonic_clock() -> None:
    async def act() -> None:
        clock = SimulatedClock(1000.0)
        clock.jump(3600.0)
        assert (clock.now(), clock.monotonic()) == (4600.0, 0.0)
        await clock.advance(10)
        assert (clock.now(), clock.monotonic()) == (4610.0, 10.0)

    asyncio.run(act())


def test_followers_are_told_of_each_step() -> None:
    async def act() -> None:
        clock, steps = SimulatedClock(), []
        clock.followers.append(steps.append)
        task = asyncio.create_task(clock.sleep(2.0))
        await clock.advance(5)
        assert steps == [2.0, 3.0]
        await task

    asyncio.run(act())


def test_run_lets_time_pass_as_long_as_the_work_takes() -> None:
    async def act() -> None:
        clock = SimulatedClock()

        async def work() -> str:
            await clock.sleep(7)
            return "done"

        assert await clock.run(work()) == "done"
        assert clock.monotonic() == 7
        with pytest.raises(TimeoutError):
            await clock.run(clock.sleep(100), most_s=50)
        assert clock.monotonic() == 7

    asyncio.run(act())


def test_errors_of_the_work_pass_through() -> None:
    async def act() -> None:
        async def work() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await SimulatedClock().run(work())

    asyncio.run(act())


def test_work_on_another_thread_is_waited_for_when_it_is_attended() -> None:
    class Slow:
        def __init__(self) -> None:
            self.go, self.name = threading.Event(), "slow"

        async def work(self) -> str:
            asyncio.get_running_loop().call_later(0.005, self.go.set)
            await asyncio.to_thread(self.go.wait)
            return "done"

        async def pieces(self) -> Any:
            for number in range(3):
                await asyncio.to_thread(lambda: None)
                yield number

    async def act() -> None:
        clock, slow, seen = SimulatedClock(), Slow(), []
        attended = clock.attend(slow)

        async def user() -> None:
            seen.append(await attended.work())
            seen.append([one async for one in attended.pieces()])

        task = asyncio.create_task(user())
        await clock.settle()
        assert seen == ["done", [0, 1, 2]]
        assert attended.name == "slow"
        await task

    asyncio.run(act())


def test_a_program_that_spins_is_found() -> None:
    async def act() -> None:
        clock = SimulatedClock()

        async def spin() -> None:
            while True:  # noqa: ASYNC110
                await asyncio.sleep(0)

        task = asyncio.create_task(spin())
        with pytest.raises(RuntimeError, match="spins"):
            await clock.settle()
        task.cancel()

    asyncio.run(act())
