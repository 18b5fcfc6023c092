"""The typed view on an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_atlas.backend import Backend, home_of
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import ProviderFailure
from tests.unit.drift.conftest import STACK_ID, export, resource

A, B = "a" * 20, "b" * 20


def test_things_carry_their_birth_owner_and_id() -> None:
    [thing] = parse(export(resource("web", birth=A, ident="pod-1"))).things
    assert (thing.kind, thing.name, thing.birth, thing.id, thing.provider) == ("pod", "web", A, "pod-1", "local")
    assert thing.owner is not None and thing.owner.id == STACK_ID


def test_the_stack_id_comes_from_our_small_resource_and_is_no_thing() -> None:
    state = parse(export())
    assert state.stack_id == STACK_ID
    assert state.things == ()


def test_a_stack_that_was_never_stored_is_known_by_the_owners_of_pending_operations() -> None:
    bare = export(pending=(("creating", resource("web", birth=A)),))
    bare["deployment"]["resources"] = []
    state = parse(bare)
    assert state.stack_id is None
    assert state.stack_ids == {STACK_ID}


def test_pending_creations_of_ours_are_told_from_other_operations() -> None:
    bucket = {"urn": "…::b", "type": "aws:s3:Bucket", "inputs": {}}
    pending = (("creating", resource("web", birth=A)), ("deleting", resource("old", birth=B)), ("creating", bucket))
    state = parse(export(pending=pending))
    assert [one.thing.name for one in state.creations] == ["web"]
    assert (len(state.pending), len(state.pending_others)) == (2, 1)


def test_a_replaced_thing_that_waits_for_its_deletion_is_still_held() -> None:
    state = parse(export(resource("web", birth=A, ident="1", delete=True), resource("web", birth=B, ident="2")))
    assert state.holds(A) and state.holds(B)
    assert [thing.doomed for thing in state.things] == [True, False]


def test_a_thing_is_held_by_its_id_too() -> None:
    assert parse(export(resource("web", ident="pod-1"))).holds(A, "pod-1")
    assert not parse(export(resource("web", ident="pod-1"))).holds(A, None)


def test_a_users_subclass_counts_by_its_birth() -> None:
    row = {**resource("web", birth=A), "type": "pulumi-python:dynamic/acme:Trainer"}
    assert parse(export(row)).holds(A)


def test_what_is_no_export_is_refused() -> None:
    with pytest.raises(ProviderFailure):
        parse({"version": 3})
    assert parse({"deployment": {}}).things == ()


def test_where_a_state_is_kept_is_said_without_keys_and_tells_backends_projects_and_stacks_apart() -> None:
    bucket = Backend("s3://me:key@bucket/folder/?region=eu&secret=1", "", "bucket")
    assert home_of(bucket, "proj", "org/proj/dev") == "s3://bucket/folder proj/dev"
    here = Backend("file://./state", "", "file", Path("/srv/state"))
    assert home_of(here, "proj", "dev") == "file:///srv/state proj/dev"
    assert home_of(Backend(None, "", "none"), "proj", "dev") is None
    places = {home_of(bucket, "proj", "dev"), home_of(here, "proj", "dev"), home_of(here, "proj", "prod")}
    assert len(places) == 3
