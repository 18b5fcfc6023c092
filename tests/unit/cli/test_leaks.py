"""`atlas leaks` over a mock world and states in a folder: what it lists, where, at what cost, and how it ends."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import config, processes
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers.mock import World
from tests.unit.cli.conftest import Atlas

A, B = "a" * 16, "b" * 16


def planted(world: World, owner: str | None, name: str = "web", **fields: Any) -> Compute:
    tag = Tag(new_birth(), Owner.parse(owner)) if owner else None
    return world.plant(ComputeSpec(name=name, image="i", **fields), tag=tag)


def state(folder: Path, name: str, stack_id: str, *held: Compute, packed: bool = False, **more: Any) -> Path:
    """A stack's file as a `file://` backend keeps it."""
    rows: list[dict[str, Any]] = [{"urn": "…::atlas", "type": "pulumi-python:dynamic/atlas:Stack", "id": stack_id}]
    for pod in held:
        inputs = {"birth": pod.birth, "owner": str(pod.owner)}
        kind = "pulumi-python:dynamic/atlas:Pod"
        rows.append({"urn": f"…::{pod.name}", "type": kind, "id": pod.id, "inputs": inputs, **more})
    text = json.dumps({"version": 3, "checkpoint": {"stack": name, "latest": {"resources": rows}}}).encode()
    path = folder / ".pulumi" / "stacks" / f"{name}.json{'.gz' if packed else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "states"


def test_each_thing_stands_where_it_belongs_with_its_cost(atlas: Atlas, world: World, folder: Path) -> None:
    held = planted(world, f"stack:{A}:atlas:Pod::web")
    leaked = planted(world, f"stack:{A}:atlas:Pod::lost", gpu=["h100"])
    unknown = planted(world, f"stack:{B}:atlas:Pod::web")
    session, manual = planted(world, "deployment:d1:s1"), planted(world, "manual:bob")
    planted(world, None)
    state(folder, "proj/dev", A, held)
    done = atlas("leaks", "--state-dir", str(folder), "--json")
    assert done.code == 7
    answer = done.json
    assert [(row["id"], row["standing"]) for row in answer["items"]] == [
        (leaked.id, "leaked"), (unknown.id, "unknown_stack"), (session.id, "session"), (manual.id, "manual"),
    ]  # fmt: skip
    assert (answer["complete"], answer["leaks"], answer["states"]) == (True, 2, ["proj/dev"])
    assert (answer["provider"], answer["account"]) == ("mock", "mock:default")
    assert answer["cost_per_hour"] == {
        "leaked": 2.99, "unknown_stack": 0.08, "session": 0.08, "manual": 0.08, "in_progress": 0.0,
    }  # fmt: skip
    told = atlas("leaks", "--state-dir", str(folder))
    assert told.code == 7
    order = [
        told.out.index(text) for text in ("Leaked", leaked.id, "not given", unknown.id, "Sessions", "Made by hand")
    ]
    assert order == sorted(order)
    assert "2.99 per hour" in told.out
    assert f"atlas compute terminate {leaked.id} --provider mock" in told.out
    assert held.id not in told.out


def test_a_thing_is_known_by_id_or_birth_in_any_of_the_states(atlas: Atlas, world: World, folder: Path) -> None:
    first, second = planted(world, f"stack:{A}:x"), planted(world, f"stack:{B}:x")
    state(folder, "one/dev", A, first)
    state(folder / "other", "two/dev", B, second.model_copy(update={"id": "unknown-yet"}), packed=True)
    done = atlas("leaks", "--state-dir", str(folder), "--state-dir", str(folder / "other"))
    assert done.code == 0
    assert "Nothing is leaked at mock: 2 stacks were compared." in done.out


def test_sessions_and_what_was_made_by_hand_are_no_leaks(atlas: Atlas, world: World, folder: Path) -> None:
    state(folder, "proj/dev", A)
    planted(world, "manual:bob")
    planted(world, "deployment:d1:s1")
    assert atlas("leaks", "--state-dir", str(folder)).code == 0


def test_what_a_stack_only_reads_it_does_not_hold(atlas: Atlas, world: World, folder: Path) -> None:
    state(folder, "proj/dev", A, planted(world, f"stack:{A}:x"), external=True)
    assert atlas("leaks", "--state-dir", str(folder)).code == 7


def test_what_a_living_process_is_making_is_told_apart(atlas: Atlas, world: World, folder: Path) -> None:
    pod = planted(world, f"stack:{A}:x")
    assert pod.birth is not None and pod.owner is not None
    state(folder, "proj/dev", A)
    IntentBook(config.load().state_dir).open(
        Intent(pod.birth, pod.owner, "pod", "mock", None, "", "x", "0", processes.me(), written_at=time.time())
    )
    done = atlas("leaks", "--state-dir", str(folder), "--json")
    assert (done.code, done.json["items"][0]["standing"]) == (0, "in_progress")


def test_what_cannot_be_read_wins_over_what_was_found(atlas: Atlas, world: World, folder: Path) -> None:
    planted(world, f"stack:{A}:x")
    path = state(folder, "proj/dev", A)
    world.configure(listing_complete=False)
    done = atlas("leaks", "--state-dir", str(folder), "--json")
    assert (done.code, done.json["complete"]) == (10, False)
    assert "the list of pods is not complete" in done.json["troubles"]
    world.configure(listing_complete=True)
    with world.outage():
        assert atlas("leaks", "--state-dir", str(folder)).code == 10
    path.write_bytes(path.read_bytes()[:20])
    done = atlas("leaks", "--state-dir", str(folder))
    assert done.code == 10
    assert "the state of proj/dev cannot be read" in done.err


def test_without_any_state_it_says_so(atlas: Atlas, world: World) -> None:
    planted(world, f"stack:{A}:x")
    done = atlas("leaks")
    assert done.code == 7
    assert "no state was given" in done.err
    assert "Of stacks whose states were not given" in done.out


def test_a_folder_without_states_is_refused(atlas: Atlas, world: World, tmp_path: Path) -> None:
    assert atlas("leaks", "--state-dir", str(tmp_path)).code == 2
    assert atlas("leaks", "--stack", "dev").code == 2


def test_it_only_looks(atlas: Atlas, world: World, folder: Path) -> None:
    planted(world, f"stack:{A}:x")
    state(folder, "proj/dev", A)
    world.clear_calls()
    atlas("leaks", "--state-dir", str(folder))
    assert {call.operation for call in world.calls()} == {
        "identity", "list_compute", "list_volumes", "list_endpoints",
    }  # fmt: skip
