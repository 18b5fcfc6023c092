"""What the doctor says of a machine, without a project and without the engine's help."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_atlas.backend import Project, find_backend, find_project
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.drift.doctor import examine
from pulumi_atlas.drift.examination import Report
from pulumi_atlas.errors import ConfigError
from pulumi_atlas.processes import host_name
from tests.unit.drift.conftest import STACK_ID

A, B = "a" * 20, "b" * 20
KEY = "sk-planted-0123456789"


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    return {**kept, "ATLAS_STATE_DIR": str(tmp_path / "atlas-state"), "PULUMI_HOME": str(tmp_path / "pulumi"), **more}


def told(report: Report, words: str) -> tuple[str, str]:
    """Severity and mend of the one problem that holds the words."""
    [found] = [problem for problem in report.problems if words in problem.what]
    return found.severity, found.mend


def test_outside_a_project_it_still_examines(tmp_path: Path) -> None:
    answer = examine(tmp_path, environ(tmp_path)).as_json()
    assert answer["project"] is None
    assert answer["engine"].keys() >= {"path", "version", "language_host", "problems"}
    assert {row["name"] for row in answer["providers"]} >= {"local", "mock"}
    assert answer["backend"] == {"url": None, "source": "nothing", "kind": "none"}
    assert answer["intents"] == answer["locks"] == answer["pending"] == []
    json.dumps(answer)


def test_no_engine_is_an_error_with_a_command(tmp_path: Path) -> None:
    report = examine(tmp_path, environ(tmp_path, PATH="/nonexistent", ATLAS_ENGINE_DIR=str(tmp_path / "none")))
    assert not report.healthy
    severity, mend = told(report, "no Pulumi CLI")
    assert severity == "error" and "make engine" in mend
    assert report.engine["path"] is None


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_text(f"accounts:\n  a: {{provider: local, api_key: {KEY}}}\n")
    (tmp_path / "atlas.yaml").chmod(0o644)
    report = examine(tmp_path, environ(tmp_path, RUNPOD_API_KEY=KEY))
    assert KEY not in json.dumps(report.as_json())
    assert report.config["accounts"] == ["a"]
    assert told(report, "can be read by others")[1].startswith("`chmod 600")


def test_faults_of_atlas_yaml_are_named_and_the_rest_is_examined(tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_text("provder: local\n")
    report = examine(tmp_path, environ(tmp_path))
    assert told(report, "provder")[0] == "error"
    assert report.providers


def test_the_lock_of_a_dead_run_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "state" / ".pulumi" / "locks" / "organization" / "proj" / "dev"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps({"pid": 2**22 + 1, "hostname": host_name()}))
    report = examine(tmp_path, environ(tmp_path, PULUMI_BACKEND_URL=f"file://{tmp_path}/state"))
    severity, mend = told(report, "stack dev of proj is locked")
    assert severity == "error" and "--recover" in mend
    assert report.locks[0]["holder"] == "dead"


def test_an_unclosed_note_of_a_dead_writer_is_an_error_and_of_a_living_one_is_not(
    tmp_path: Path, note_for: Callable[..., Intent]
) -> None:
    book = IntentBook(tmp_path / "atlas-state")
    book.open(note_for(A, owner="manual:me", written_at=time.time() - 60))
    book.open(note_for(B, owner="manual:me", alive=True, name="other", written_at=time.time()))
    report = examine(tmp_path, environ(tmp_path))
    assert told(report, "creation of pod web")[1] == "atlas doctor --recover"
    assert {row["birth"]: row["verdict"] for row in report.intents} == {A: "remove", B: "busy"}
    assert report.intents[0]["age_s"] >= 60
    assert not any("other" in problem.what for problem in report.problems)


def test_an_open_note_of_another_project_names_its_folder(tmp_path: Path, note_for: Callable[..., Intent]) -> None:
    IntentBook(tmp_path / "atlas-state").open(note_for(A, owner=f"stack:{STACK_ID}:atlas:Pod::web"))
    assert told(examine(tmp_path, environ(tmp_path)), "/srv/proj")[1] == "atlas doctor --recover --cwd /srv/proj"


def test_a_damaged_note_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "atlas-state" / "intents"
    folder.mkdir(parents=True)
    (folder / f"{A}.json").write_text("{}")
    assert told(examine(tmp_path, environ(tmp_path)), "is damaged")[0] == "error"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    report = examine(tmp_path, environ(tmp_path, ATLAS_STATE_DIR=str(tmp_path / "closed")))
    assert told(report, "cannot be written")[0] == "error"


def test_the_backend_is_found_in_the_engines_order(tmp_path: Path) -> None:
    home = tmp_path / "pulumi"
    home.mkdir()
    (home / "credentials.json").write_text('{"current": "https://api.pulumi.com"}')
    logged_in = environ(tmp_path)
    assert find_backend(logged_in, None).kind == "cloud"
    project = Project(tmp_path, "proj", "file://~/state")
    assert find_backend(logged_in, project).root == tmp_path / "home" / "state"
    named = find_backend({**logged_in, "PULUMI_BACKEND_URL": "s3://bucket"}, project)
    assert (named.kind, named.source) == ("bucket", "PULUMI_BACKEND_URL")
    assert find_backend({**logged_in, "PULUMI_BACKEND_URL": "file://./here"}, project).root == tmp_path / "here"


def test_the_project_is_found_from_below_and_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: proj\nruntime: python\nbackend: {url: 'file:///x'}\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) == Project(tmp_path, "proj", "file:///x")
    (tmp_path / "Pulumi.yaml").write_text("runtime: python\n")
    with pytest.raises(ConfigError):
        find_project(below)
