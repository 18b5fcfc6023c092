"""`atlas doctor`: what it prints, what it asks, and its exit codes. Recovery on the real engine is among the fault tests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pulumi_atlas import config
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.processes import ProcessIdentity, boot_id, host_name
from pulumi_atlas.providers.mock import World
from tests.unit.cli.conftest import Atlas

BIRTH = Birth("a" * 20)


def leave_a_note() -> IntentBook:
    """As a spawn that was killed leaves it."""
    book = IntentBook(config.load().state_dir)
    dead = ProcessIdentity(pid=1, boot=boot_id(), started=1, host=host_name())
    book.open(
        Intent(BIRTH, Owner("manual", "me"), "pod", "mock", None, "", "web", "0", dead, written_at=time.time() - 9999)
    )
    return book


def test_problems_give_code_7_and_each_says_how_it_is_mended(atlas: Atlas, world: World) -> None:
    leave_a_note()
    done = atlas("doctor")
    assert done.code == 7
    assert "creation of pod web at mock did not end" in done.out
    assert "mend: atlas doctor --recover" in done.out
    assert "All is well." not in done.out


def test_json_is_one_document_with_the_engines_path(atlas: Atlas, world: World) -> None:
    answer = atlas("doctor", "--json").json
    assert "path" in answer["engine"]
    assert answer["healthy"] == all(problem["severity"] == "note" for problem in answer["problems"])


def test_recovery_asks_and_without_a_terminal_wants_yes(atlas: Atlas, world: World) -> None:
    book = leave_a_note()
    done = atlas("doctor", "--recover")
    assert done.code == 2
    assert "--yes" in done.err
    assert book.is_noted(BIRTH)


def test_outside_a_project_recovery_settles_what_was_made_by_hand_and_says_so(atlas: Atlas, world: World) -> None:
    book = leave_a_note()
    done = atlas("doctor", "--recover", "--yes")
    assert done.code == 0
    assert "in no Pulumi project" in done.err
    assert "1 were never made" in done.out
    assert not book.is_noted(BIRTH)


def test_recovery_with_nothing_to_do_says_so(atlas: Atlas, world: World) -> None:
    done = atlas("doctor", "--recover", "--yes", "--json")
    assert done.code == 0
    assert done.json["complete"] is True
    assert done.json["terminated"] == 0
    assert "nothing to recover" in atlas("doctor", "--recover").out


def test_an_unreachable_provider_leaves_the_note_and_gives_code_7(
    atlas: Atlas, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = leave_a_note()
    monkeypatch.setenv("ATLAS_MOCK_FILE", "/dev/null/nothing")
    done = atlas("doctor", "--recover", "--yes", "--json")
    assert done.code == 7
    assert done.json["failed"][0]["birth"] == BIRTH
    assert book.is_noted(BIRTH)


def test_a_folder_that_is_none_is_wrong_usage(atlas: Atlas, tmp_path: Path) -> None:
    assert atlas("doctor", "--cwd", str(tmp_path / "none")).code == 2
