"""Many reads, one list call; own writes are never read from an old listing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.client import kinds
from pulumi_atlas.client._inventory import Inventory
from pulumi_atlas.errors import NotFound, TransportError
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World

from ._clouds import LaggingMock, SimClock


class Bench:
    def __init__(self, pods: int = 0) -> None:
        self.world = World.fresh()
        self.clock = SimClock(self.world)
        self.provider = LaggingMock(self.world)
        self.inventory: Inventory[Any] = Inventory(self.provider, kinds.POD, self.clock)
        self.ids = [self.world.plant(ComputeSpec()).id for _ in range(pods)]
        self.world.clear_calls()

    def lists(self) -> int:
        return len(self.world.calls("list_compute"))

    def gets(self) -> int:
        return len(self.world.calls("get_compute"))


@given(readers=st.integers(1, 200))
def test_reads_at_once_share_one_list_call(readers: int) -> None:
    bench = Bench(5)

    async def play() -> None:
        reads = [bench.inventory.find(bench.ids[place % 5]) for place in range(readers)]
        assert [pod.id for pod in await asyncio.gather(*reads)] == [bench.ids[p % 5] for p in range(readers)]

    asyncio.run(play())
    assert (bench.lists(), bench.gets()) == (1, 0)


@given(pauses=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20))
def test_a_listing_is_kept_for_a_second_and_no_longer(pauses: list[float]) -> None:
    bench = Bench(1)

    async def play() -> None:
        taken = None
        for pause in pauses:
            await bench.clock.sleep(pause)
            before, now = bench.lists(), bench.clock.monotonic()
            await bench.inventory.find(bench.ids[0])
            if taken is not None and now - taken < 0.99:
                assert bench.lists() == before
            if taken is None or now - taken > 1.01:
                assert bench.lists() == before + 1
            if bench.lists() > before:
                taken = bench.clock.monotonic()

    asyncio.run(play())


@given(steps=st.lists(st.sampled_from(["read", "write", "read at once"]), max_size=20))
def test_after_an_own_write_nobody_reads_an_older_listing(steps: list[str]) -> None:
    bench = Bench(1)

    async def play() -> None:
        for step in steps:
            if step == "write":
                bench.world.change(bench.ids[0], env={"N": str(bench.lists())})
                bench.inventory.drop()
                continue
            now = bench.world.pods[bench.ids[0]].spec
            reads = [bench.inventory.find(bench.ids[0]) for _ in range(3 if step == "read at once" else 1)]
            assert {repr(pod.spec) for pod in await asyncio.gather(*reads)} == {repr(now)}
            assert all(pod.spec == now for pod in await asyncio.gather(*[bench.inventory.find(bench.ids[0])]))

    asyncio.run(play())


def test_a_listing_that_was_under_way_at_a_write_is_not_kept() -> None:
    bench = Bench(1)

    async def play() -> None:
        early = asyncio.create_task(bench.inventory.listing())
        await asyncio.sleep(0)
        bench.world.change(bench.ids[0], env={"NEW": "1"})
        bench.inventory.drop()
        await early
        seen = await bench.inventory.find(bench.ids[0])
        assert seen.spec.env == {"NEW": "1"}

    asyncio.run(play())
    assert bench.lists() == 2


def test_a_failed_listing_fails_every_reader_and_is_not_kept() -> None:
    bench = Bench(1)
    bench.world.fail_next("list_compute", "transport")

    async def play() -> None:
        done = await asyncio.gather(*(bench.inventory.find(bench.ids[0]) for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in done] == [TransportError] * 5
        assert (await bench.inventory.find(bench.ids[0])).id == bench.ids[0]

    asyncio.run(play())


def test_a_reader_that_gives_up_does_not_take_the_listing_from_the_others() -> None:
    bench = Bench(1)

    async def play() -> None:
        first, second = (asyncio.create_task(bench.inventory.find(bench.ids[0])) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).id == bench.ids[0]

    asyncio.run(play())
    assert bench.lists() == 1


@given(complete=st.booleans(), hidden=st.booleans(), age=st.none() | st.floats(0, 100))
def test_gone_is_said_only_with_proof(complete: bool, hidden: bool, age: float | None) -> None:
    bench = Bench(1)
    bench.world.configure(listing_complete=complete, hidden=bench.ids if hidden else [])

    async def play() -> None:
        assert (await bench.inventory.find(bench.ids[0], thing_age_s=age)).id == bench.ids[0]
        bench.world.remove(bench.ids[0])
        bench.inventory.drop()
        if complete and (age is None or age >= bench.provider.listing_lag_s):
            assert await bench.inventory.find(bench.ids[0], thing_age_s=age) is None
        else:
            with pytest.raises(NotFound):
                await bench.inventory.find(bench.ids[0], thing_age_s=age)

    asyncio.run(play())


def test_a_birth_is_looked_for_in_a_listing_of_its_own() -> None:
    bench = Bench(1)
    tag = Tag(new_birth(), Owner("stack", "s"))

    async def play() -> None:
        await bench.inventory.listing()
        pod = bench.world.plant(ComputeSpec(), tag=tag)
        found, complete = await bench.inventory.find_birth(tag.birth)
        assert (found.id if found else None, complete) == (pod.id, True)

    asyncio.run(play())
