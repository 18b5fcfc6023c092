"""`atlas drift`: its table, its document and its exit codes, for constructed reports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import pulumi_atlas.drift
from pulumi_atlas.cli import _drift_view
from pulumi_atlas.drift import Change, DriftItem, DriftReport
from pulumi_atlas.drift.reconcile import Reconciled
from tests.unit.cli.conftest import Atlas

PAGE = Path(__file__).resolve().parents[3] / "docs" / "drift.md"

words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=60)
values = st.none() | words | st.integers() | st.lists(words, max_size=3) | st.dictionaries(words, words, max_size=2)
items = st.builds(
    DriftItem,
    status=st.sampled_from(sorted(pulumi_atlas.drift.Status.__args__)),  # type: ignore[attr-defined]
    urn=st.none() | words,
    kind=st.sampled_from(["pod", "volume", "endpoint", "stack", None]),
    provider=st.none() | words,
    id=st.none() | words,
    changes=st.lists(st.builds(Change, words, values, values), max_size=3).map(tuple),
    cost_per_hour=st.none() | st.floats(0, 1e5),
    reason=words,
    next=words,
    name=words,
)
reports = st.builds(DriftReport, st.just("dev"), st.lists(items, max_size=4).map(tuple), st.booleans())


def schema() -> dict[str, Any]:
    [text] = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def violations(value: Any, wanted: dict[str, Any]) -> list[str]:
    """What is wrong with a value."""
    Draft202012Validator.check_schema(wanted)
    return [error.message for error in Draft202012Validator(wanted).iter_errors(value)]


@given(report=reports)
def test_every_report_has_the_documented_form(report: DriftReport) -> None:
    assert violations(json.loads(json.dumps(report.as_json())), schema()) == []


@pytest.mark.parametrize(
    "wrong", [{}, {"stack": "dev", "clean": 1, "complete": True, "items": []}, {"stack": "dev", "more": 1}]
)
def test_the_documented_form_refuses_others(wrong: dict[str, Any]) -> None:
    assert violations(wrong, schema())


@given(report=reports)
def test_no_line_is_wider_than_a_terminal(report: DriftReport) -> None:
    lines = list(_drift_view.lines(report))
    assert lines
    assert [line for line in lines if len(line) > _drift_view.WIDTH] == []
    assert all("\n" not in line for line in lines)


def test_the_page_names_every_status() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M))
    assert told == set(pulumi_atlas.drift.Status.__args__)  # type: ignore[attr-defined]
    assert told == set(schema()["properties"]["items"]["items"]["properties"]["status"]["enum"])


CHANGED = DriftItem("changed", "urn::pod::web", "pod", "mock", "p-1", (Change("image", "a", "b"),), 0.5, "x", "do this")
SILENT = DriftItem("unreachable", provider="mock", reason="HTTP 500", next="again")
LEAK = DriftItem("leaked", None, "pod", "mock", "p-9", (), 1.0, "in no state", "end it", name="lost")
DONE = DriftItem("finished", "urn::pod::job", "pod", "mock", "p-2", (), 0.0, "it ended", "nothing")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (DriftReport("dev"), 0),
        (DriftReport("dev", (DONE,)), 0),
        (DriftReport("dev", (CHANGED, DONE)), 7),
        (DriftReport("dev", (CHANGED, SILENT), complete=False), 10),
    ],
)
def test_the_exit_code_and_the_document(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch, found: DriftReport, code: int
) -> None:
    monkeypatch.setattr(pulumi_atlas.drift, "report", lambda *args, **options: found)
    assert atlas("drift").code == code
    done = atlas("drift", "--json")
    assert done.code == code
    assert done.json == json.loads(json.dumps(found.as_json()))
    assert done.json["clean"] == (code == 0) and done.json["complete"] == (code != 10)


def test_one_that_was_interrupted_says_what_to_do(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> Reconciled:
        raise KeyboardInterrupt

    for verb in ("reconcile", "accept"):
        monkeypatch.setattr(f"pulumi_atlas.drift.reconcile.{verb}", interrupted)
        done = atlas("drift", f"--{verb}", "--yes")
        assert done.code == 8 and "run the same command again" in done.err
        assert "run the same command again" in json.dumps(atlas("drift", f"--{verb}", "--yes", "--json").json)


def test_a_ctrl_c_at_a_question_about_a_leak_is_no_answer(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run left has been ended by then: it would be false that nothing was done."""

    def asked(*args: Any, choose: Any, **options: Any) -> Reconciled:
        choose(LEAK)
        raise AssertionError

    def aborted(*args: Any, **options: Any) -> str:
        raise typer.Abort

    monkeypatch.setattr("pulumi_atlas.drift.reconcile.reconcile", asked)
    monkeypatch.setattr(typer, "prompt", aborted)
    done = atlas("drift", "--reconcile")
    assert done.code == 8 and "nothing was done" not in done.err


@pytest.mark.parametrize(
    ("done", "code", "words"),
    [
        (Reconciled(DriftReport("dev", (LEAK,))), 7, "not everything is in order"),
        (Reconciled(DriftReport("dev", (LEAK,)), acted=False), 7, "nothing was done"),
        (Reconciled(DriftReport("dev", (SILENT,), complete=False), acted=False), 10, "not everything could be judged"),
        (Reconciled(DriftReport("dev"), python="x = atlas.Pod()"), 0, "paste this"),
    ],
)
def test_whatever_is_left_after_a_reconciliation_is_said_with_its_next_command(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch, done: Reconciled, code: int, words: str
) -> None:
    monkeypatch.setattr("pulumi_atlas.drift.reconcile.reconcile", lambda *args, **options: done)
    told = atlas("drift", "--reconcile", "--yes")
    assert told.code == code and words in told.err
    assert all(item.next in told.out and item.reason in told.out for item in done.report.items)
    as_json = atlas("drift", "--reconcile", "--yes", "--json")
    assert as_json.code == code and len(as_json.json["items"]) == len(done.report.items)
    assert ("x = atlas.Pod()" in as_json.err) == bool(done.python)


def test_the_next_command_finds_the_same_stack(atlas: Atlas, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / r"a \1 b"
    folder.mkdir()
    found = DriftReport("prod", (replace(CHANGED, next="atlas drift --reconcile, or atlas drift --accept"),))
    monkeypatch.setattr(pulumi_atlas.drift, "report", lambda *args, **options: found)
    options = f"--cwd '{folder}' --stack prod"
    told = atlas("drift", "--json", "--cwd", str(folder), "--stack", "prod").json["items"][0]["next"]
    assert told == f"atlas drift {options} --reconcile, or atlas drift {options} --accept"
    assert atlas("drift", "--json").json["items"][0]["next"] == found.items[0].next


def test_the_table_names_what_differs_the_cost_and_the_next_command(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi_atlas.drift, "report", lambda *args, **options: DriftReport("dev", (CHANGED,)))
    shown = atlas("drift").out.splitlines()
    assert shown[0].split() == ["STATUS", "KIND", "NAME", "ID", "$/H"]
    assert shown[1].split() == ["changed", "pod", "web", "p-1", "0.50"]
    assert shown[2:4] == ['  image: "a" → "b"', "  next: do this"]
    assert shown[-1] == "Stack dev: 1 changed; these cost 0.50 per hour."


@pytest.mark.parametrize(("status", "kind"), [("stopped", "pod"), ("reclaimed", "pod"), ("changed", "stack")])
def test_the_reason_is_told_beside_what_differs_unless_it_only_names_that_again(status: Any, kind: str) -> None:
    item = replace(CHANGED, status=status, kind=kind, reason="killed by signal 9")
    assert "  killed by signal 9" in list(_drift_view.lines(DriftReport("dev", (item,))))
    assert not any(
        "signal" in line for line in _drift_view.lines(DriftReport("dev", (replace(CHANGED, reason="signal"),)))
    )


@pytest.mark.parametrize(
    "words", [["--leaks", "keep"], ["--yes"], ["--accept", "--leaks", "keep"], ["--accept", "--reconcile"]]
)
def test_options_that_mean_nothing_alone_are_wrong_usage(atlas: Atlas, words: list[str]) -> None:
    assert atlas("drift", *words).code == 2


def test_outside_a_project_it_is_wrong_usage(atlas: Atlas) -> None:
    done = atlas("drift")
    assert done.code == 2
    assert "no Pulumi project" in done.err and "--cwd" in done.err
