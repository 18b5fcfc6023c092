"""A copied state under an id of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pulumi_atlas.drift.forking import _check_dependents, _divide, _required_id, rewritten
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.ids import StackId
from tests.unit.drift.conftest import STACK_ID, export, resource

OLD, NEW = StackId(STACK_ID), StackId("feedfacefeedface")
WEB = resource("web", ident="p1", birth="a" * 20)
DATA = resource("data", "Volume", ident="v1", birth="b" * 20)


def with_outputs(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "outputs": {**row["inputs"], "env": {"HF": {"4dabf18193072939515e22adb298388d": "…", "ciphertext": "v1:x"}}},
    }


def test_the_new_id_stands_wherever_the_old_one_did_and_nothing_else_changes() -> None:
    before = export(with_outputs(WEB), DATA)
    kept = copy.deepcopy(before)
    after = rewritten(before, OLD, NEW)
    assert before == kept
    state = parse(after)
    assert state.stack_ids == {NEW}
    assert STACK_ID not in str(after)
    assert str(after).replace(NEW, STACK_ID) == str(before)


def test_what_is_forgotten_is_no_longer_there() -> None:
    after = parse(rewritten(export(WEB, DATA), OLD, NEW, {DATA["urn"]}))
    assert [one.name for one in after.things] == ["web"]


def test_another_stacks_owner_is_left_as_it_is() -> None:
    foreign = {**WEB, "inputs": {**WEB["inputs"], "owner": "stack:0000000000000000:atlas:Pod::web"}}
    assert parse(rewritten(export(foreign), OLD, NEW)).things[0].owner == parse(export(foreign)).things[0].owner


def test_what_is_left_is_named_by_id_or_is_everything() -> None:
    state = parse(export(WEB, DATA))
    assert [[one.name for one in part] for part in _divide(state, ["v1"])] == [["web"], ["data"]]
    assert [len(part) for part in _divide(state, ["all"])] == [0, 2]
    with pytest.raises(NotFound):
        _divide(state, ["nowhere"])


@pytest.mark.parametrize(
    "needs",
    [{"dependencies": [DATA["urn"]]}, {"propertyDependencies": {"volumes": [DATA["urn"]]}}, {"parent": DATA["urn"]}],
)
def test_what_something_depends_on_cannot_be_left_alone(needs: dict[str, Any]) -> None:
    with pytest.raises(Conflict, match="web depends on data"):
        _check_dependents(export({**WEB, **needs}, DATA), {DATA["urn"]})
    _check_dependents(export({**WEB, **needs}, DATA), {DATA["urn"], WEB["urn"]})


def test_without_an_id_or_with_unfinished_operations_there_is_nothing_to_separate() -> None:
    assert _required_id(parse(export(WEB)), "dev") == OLD
    with pytest.raises(Conflict, match="did not end"):
        _required_id(parse(export(pending=(("creating", WEB),))), "dev")
    with pytest.raises(Conflict, match="no id"):
        _required_id(parse({"deployment": {"resources": []}}), "dev")
