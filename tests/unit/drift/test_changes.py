"""Which properties a report names, and what it never shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pulumi_atlas.drift._changes import changes_of
from pulumi_atlas.drift._events import Refresh, Seen, read_deletions, read_events

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}
PLANTED = "sk-planted-0123456789"


def told(declared: dict[str, Any], live: dict[str, Any], *paths: str) -> dict[str, tuple[Any, Any]]:
    changes = changes_of(Seen("urn", "update", declared=declared, live=live, paths=paths))
    return {change.property: (change.declared, change.live) for change in changes}


def test_plain_values_are_shown_as_declared_and_as_they_are() -> None:
    assert told({"image": "x:1"}, {"image": "y:2"}, "image") == {"image": ("x:1", "y:2")}
    assert told({}, {"image": "y:2"}, "image") == {"image": (None, "y:2")}


def test_of_a_list_the_whole_list_is_one_property() -> None:
    found = told({"command": ["a", "b"]}, {"command": ["a", "c", "d"]}, "command[1]", "command[2]")
    assert found == {"command": (["a", "b"], ["a", "c", "d"])}


@pytest.mark.parametrize("path", ["env.A", 'env["A"]'])
def test_of_a_mapping_each_entry_is_a_property(path: str) -> None:
    assert told({"env": {"A": "1"}}, {"env": {"A": "2"}}, path) == {"env.A": ("1", "2")}


def test_a_key_with_dots_and_quotes_is_read_as_the_engine_writes_it() -> None:
    key = 'a."b'
    found = told({"env": {key: "1"}}, {"env": {key: "2"}}, 'env["a.\\"b"]')
    assert list(found.values()) == [("1", "2")]


@pytest.mark.parametrize(
    ("declared", "live", "path"),
    [
        ({"env": {"A": SECRET}}, {"env": {"A": PLANTED}}, "env.A"),
        ({"env": {"A": SECRET}}, {"env": {"A": SECRET}}, "env.A"),
        ({"env": {"HF_TOKEN": "clear"}}, {"env": {"HF_TOKEN": PLANTED}}, "env.HF_TOKEN"),
        ({"env": {"A": "1"}}, {"env": {"A": "1", "B": PLANTED}}, "env.B"),
        ({}, {"env": {"B": PLANTED}}, "env"),
        ({"env": {"A": "1"}}, {"env": {"A": "1", "B": PLANTED}}, "env"),
        ({"env": SECRET}, {"env": {"B": PLANTED}}, "env.B"),
        ({"env": SECRET}, {"env": {"B": PLANTED}}, "env"),
        ({"command": ["a", SECRET]}, {"command": ["a", PLANTED]}, "command[1]"),
        ({"command": SECRET}, {"command": [PLANTED]}, "command"),
        ({"provider_options": {"a": SECRET}}, {"provider_options": {"b": PLANTED}}, "provider_options.b"),
        ({"provider_options": {}}, {"provider_options": {"inner": {"api_key": PLANTED}}}, "provider_options.inner"),
    ],
)
def test_what_may_be_secret_is_named_and_never_shown(declared: Any, live: Any, path: str) -> None:
    found = told(declared, live, path)
    assert len(found) == 1
    assert PLANTED not in json.dumps(list(found.values()))
    assert "***" in json.dumps(list(found.values()))


def test_inputs_of_ours_are_no_properties() -> None:
    assert told({"__provider": "a", "birth": "b"}, {"__provider": "c"}, "__provider", "birth") == {}


def event(urn: str, op: str, **more: Any) -> str:
    old = {"id": "x-1", "inputs": {"image": "a"}, "outputs": {}}
    return json.dumps({"resOutputsEvent": {"metadata": {"urn": urn, "op": op, "old": old, "new": {}, **more}}})


def failure(urn: str) -> str:
    message = "Preview failed: atlas: [mock] transport: no answer\n\n"
    return json.dumps({"diagnosticEvent": {"urn": urn, "severity": "error", "message": message}})


def test_the_event_log_is_read_into_what_was_seen_and_what_failed() -> None:
    log = [event("a", "update", detailedDiff={"image": {}}), event("b", "delete"), failure("c"), '{"half": ']
    found = read_events([*log, event("d", "refresh"), json.dumps({"resOutputsEvent": {"metadata": None}}), "[]"])
    assert {urn: one.operation for urn, one in found.seen.items()} == {"a": "update", "b": "delete", "d": "update"}
    assert found.seen["a"].paths == ("image",)
    assert found.failed == {"c": "[mock] transport: no answer"}


def test_what_failed_was_not_seen_and_the_first_word_counts() -> None:
    found = read_events([event("a", "same"), event("a", "delete"), event("b", "same"), failure("b")])
    assert {urn: one.operation for urn, one in found.seen.items()} == {"a": "same"}
    later = Refresh({"a": Seen("a", "delete"), "c": Seen("c", "same")}, {"b": "later"})
    joined = found.joined(later)
    assert joined.seen["a"].operation == "same" and "c" in joined.seen
    assert joined.failed["b"] == "[mock] transport: no answer"


def test_a_program_that_failed_is_told_apart_from_a_resource_that_did() -> None:
    def said(text: str, **more: Any) -> str:
        return json.dumps({"diagnosticEvent": {"severity": "error", "message": text, **more}})

    trace = (
        "Program failed with an unhandled exception:\nTraceback (most recent call last):\n  File 1\nKeyError: 'x'\n\n"
    )
    found = read_events([said("preview failed"), said(trace), failure("c")])
    assert found.program == "KeyError: 'x'" and list(found.failed) == ["c"]
    assert read_events([said("preview failed"), failure("c")]).program == ""
    assert Refresh().joined(found).program == found.program


def test_what_an_update_deletes_is_read_from_its_preview_and_what_it_replaces_is_not() -> None:
    def step(urn: str, op: str) -> str:
        return json.dumps({"resourcePreEvent": {"metadata": {"urn": urn, "op": op}}})

    steps = [step("a", "delete"), step("b", "delete-replaced"), step("c", "update"), event("d", "delete"), "{}"]
    assert read_deletions(steps) == {"a"}
