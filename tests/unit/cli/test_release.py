"""`atlas release` outside a project: for what no stack is left of. With a stack it is among the end-to-end tests."""

from __future__ import annotations

import getpass

from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.providers.mock import World
from tests.unit.cli.conftest import Atlas

STACK = "stack:aaaaaaaaaaaaaaaa:atlas:Pod::web"


def planted(world: World, owner: str) -> Compute:
    return world.plant(ComputeSpec(image="i"), tag=Tag(new_birth(), Owner.parse(owner)))


def test_a_stacks_thing_is_given_up_by_force_only(atlas: Atlas, world: World) -> None:
    pod = planted(world, STACK)
    refused = atlas("release", pod.id)
    assert refused.code == 5
    assert "aaaaaaaaaaaaaaaa" in refused.err and "--force" in refused.err
    assert atlas("release", pod.id, "--force").code == 2, "nobody can be asked"
    assert world.pods[pod.id].owner == pod.owner
    done = atlas("release", pod.id, "--force", "--yes", "--json")
    assert (done.code, done.json["done"], done.json["kind"]) == (0, True, "pod")
    assert world.pods[pod.id] == pod.model_copy(update={"owner": Owner("manual", getpass.getuser())})


def test_a_session_is_its_companions(atlas: Atlas, world: World) -> None:
    refused = atlas("release", planted(world, "deployment:d1:s1").id)
    assert refused.code == 5 and "session" in refused.err


def test_what_is_nobodys_is_left_alone(atlas: Atlas, world: World) -> None:
    pod = planted(world, "manual:bob")
    done = atlas("release", pod.id)
    assert done.code == 0 and "nobody's already" in done.out
    assert world.pods[pod.id] == pod


def test_a_preview_changes_nothing(atlas: Atlas, world: World) -> None:
    pod = planted(world, STACK)
    done = atlas("release", pod.id, "--force", "--preview", "--json")
    assert (done.code, done.json["done"], done.json["retag"]) == (0, False, True)
    assert world.pods[pod.id] == pod


def test_what_is_not_there_names_the_account(atlas: Atlas, world: World) -> None:
    for words in ((), ("--kind", "volume")):
        gone = atlas("release", "nowhere", *words)
        assert gone.code == 4 and "mock:default" in gone.err
    assert atlas("release", "x", "--kind", "house").code == 2
    with world.outage():
        assert atlas("release", "nowhere").code == 10
