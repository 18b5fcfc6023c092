"""Waits that a moment's outage does not end, and ends that are bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.client import kinds
from pulumi_atlas.client.core import Core
from pulumi_atlas.errors import Conflict, TimedOut
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World


def core_on(folder: Path) -> Core:
    environ = {"ATLAS_MOCK_FILE": str(folder / "world.json"), "ATLAS_STATE_DIR": str(folder / "state")}
    return Core(environ=environ, cwd=folder)


def test_an_outage_while_a_pod_is_waited_for_does_not_undo_it(tmp_path: Path) -> None:
    world = World.open(tmp_path / "world.json")
    world.configure(provision_s=0.3)
    world.fail_next("list_compute", "transport", times=2)
    core = core_on(tmp_path)

    async def work() -> str:
        tag = Tag(new_birth(), Owner("stack", "s", "p"))
        pod = await core.create_pod(core.open("mock"), ComputeSpec(image="i"), tag, ready=None, timeout_s=60)
        return pod.status

    assert asyncio.run(work()) == "running"


def test_a_delete_that_is_never_confirmed_ends_and_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = core_on(tmp_path)

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        opened = core.open("mock")
        tag = Tag(new_birth(), Owner("stack", "s", "p"))
        pod = await core.create_pod(opened, ComputeSpec(image="i"), tag, ready=None, timeout_s=60)
        monkeypatch.setattr(opened.provider, "terminate", never)
        with pytest.raises(TimedOut, match=r"not confirmed within 0\.01 s"):
            await core.delete(kinds.POD, opened, pod.id, identity=None, birth=tag.birth, timeout_s=0.01)
        assert core.book.is_noted(tag.birth)

    asyncio.run(work())


def test_a_thing_that_carries_another_birth_is_not_destroyed(tmp_path: Path) -> None:
    core = core_on(tmp_path)

    async def work() -> None:
        opened = core.open("mock")
        pod = await core.create_pod(
            opened, ComputeSpec(image="i"), Tag(new_birth(), Owner("stack", "s", "p")), ready=None, timeout_s=60
        )
        with pytest.raises(Conflict, match="another birth"):
            await core.delete(kinds.POD, opened, pod.id, identity=None, birth=new_birth())
        assert (await opened.provider.get_compute(pod.id)).status == "running"

    asyncio.run(work())
