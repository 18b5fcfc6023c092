"""However a command fails: the exit code tells the kind, and with --json standard output is one document."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from pulumi_atlas.cli import _exit
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.errors import Kind
from pulumi_atlas.providers.mock import World

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

Atlas = Callable[..., Any]

CODES = {
    "validation": 2,
    "unauthorized": 3,
    "forbidden": 3,
    "not_found": 4,
    "conflict": 5,
    "no_capacity": 6,
    "insufficient_funds": 6,
    "interrupted": 8,
    "timeout": 9,
    "provider": 10,
    "transport": 10,
    "unknown_outcome": 10,
    "rate_limited": 10,
    "unsupported": 11,
}


def test_every_kind_of_error_has_its_code() -> None:
    assert set(CODES) == set(get_args(Kind))
    assert dict(_exit.OF_KIND) == CODES


@pytest.mark.parametrize("kind", sorted(CODES))
def test_each_kind_ends_with_its_code_and_is_told_in_words_or_json(atlas: Atlas, world: World, kind: Any) -> None:
    world.fail_next("list_compute", kind, times=2, message="injected")
    as_json = atlas("compute", "list", "--json")
    assert (as_json.code, as_json.json["error"]["kind"], as_json.err) == (CODES[kind], kind, "")
    human = atlas("compute", "list")
    assert (human.code, human.out) == (CODES[kind], "")
    if kind != "interrupted":
        assert "error: mock: injected" in human.err


@pytest.mark.parametrize("kind", ["forbidden", "not_found", "conflict", "no_capacity", "transport", "unsupported"])
def test_a_process_ends_with_the_code(shell: Atlas, world: World, kind: Any) -> None:
    world.fail_next("get_compute", kind)
    done = shell("compute", "get", "x", "--json")
    assert (done.code, done.json["error"]["kind"], done.err) == (CODES[kind], kind, "")


def test_the_help_documents_every_code(shell: Atlas) -> None:
    done = shell("--help")
    assert done.code == 0
    lines = [line.split() for line in done.out[done.out.index("Exit codes:") :].splitlines()[1:]]
    assert [int(words[0]) for words in lines] == [int(code) for code in Exit]
    assert all(str(int(code)) in (_exit.__doc__ or "") for code in Exit)
    assert max(len(line) for line in done.out.splitlines()) <= 80


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("compute", "sapwn"),
        ("compute", "list", "--nope"),
        ("compute", "get"),
        ("compute", "logs", "x", "--tail", "many"),
        ("compute", "logs", "x", "--tail", "-1"),
        ("compute", "spawn", "--gpu-count", "two"),
        ("compute", "spawn", "--max-lifetime", "soon"),
        ("compute", "spawn", "--env", "NOT_SET_ANYWHERE"),
        ("compute", "spawn", "--port", "99999", "--", "x"),
        ("compute", "spawn", "--on-exit", "explode", "--", "x"),
        ("compute", "list", "--provider", "nope"),
        ("compute", "list", "--account", "nope"),
        ("jobs", "run", "e"),
        ("jobs", "run", "e", "--input", "{"),
    ],
)
def test_wrong_usage_and_wrong_input_end_with_two_and_change_nothing(
    atlas: Atlas, world: World, words: tuple[str, ...]
) -> None:
    human = atlas(*words)
    assert (human.code, human.out) == (2, "")
    assert human.err.startswith("error: ")
    place = words.index("--") if "--" in words else len(words)
    as_json = atlas(*words[:place], "--json", *words[place:])
    assert (as_json.code, as_json.err) == (2, "")
    assert as_json.json["error"]["kind"] == "validation"
    assert not world.pods


def test_all_faults_of_a_spec_are_told_at_once_with_their_paths(atlas: Atlas, world: World) -> None:
    words = ("--port", "1", "--port", "1", "--gpu", "h1oo", "--on-exit", "explode")
    rows = atlas("compute", "spawn", "--json", *words, "--", "x").json["error"]["failures"]
    assert {"ports[1]", "gpu[0]", "on_exit"} <= {row["path"] for row in rows}
    human = atlas("compute", "spawn", *words, "--", "x").err
    assert "3 things are wrong" in human and "ports[1]" in human and "on_exit" in human


def test_groups_without_a_command_show_their_help_and_end_with_two(atlas: Atlas) -> None:
    for words in ((), ("compute",), ("jobs",)):
        done = atlas(*words)
        assert (done.code, done.out) == (2, "")
        assert "Usage: atlas" in done.err


def test_without_a_provider_the_ways_out_are_named(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLAS_PROVIDER", raising=False)
    done = atlas("compute", "list")
    assert done.code == 2
    assert "--provider" in done.err and "ATLAS_PROVIDER" in done.err


@pytest.mark.parametrize(
    "words",
    [("compute", "terminate", "{pod}"), ("volumes", "delete", "{volume}"), ("endpoints", "delete", "{endpoint}")],
)
def test_nothing_is_destroyed_without_a_terminal_and_without_yes(
    atlas: Atlas, shell: Atlas, world: World, words: tuple[str, ...]
) -> None:
    ids = {
        "pod": atlas("compute", "spawn", "--json", "--", "x").json["id"],
        "volume": atlas("volumes", "create", "--size-gb", "1", "--json").json["id"],
        "endpoint": atlas("endpoints", "create", "--handler", "m:f", "--json").json["id"],
    }
    filled = [word.format(**ids) for word in words]
    done = shell(*filled, stdin="y\n")
    assert (done.code, done.out) == (2, "")
    assert "--yes" in done.err
    assert shell(*filled, "--json").json["error"]["kind"] == "validation"
    assert len(world.pods) == len(world.volumes) == len(world.endpoints) == 1
    assert shell(*filled, "--yes").code == 0


def test_an_unexpected_error_is_one_line_and_its_traceback_a_private_file(
    atlas: Atlas, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pulumi_atlas.providers.mock import MockProvider

    async def broken(self: object, *args: object) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(MockProvider, "get_compute", broken)
    human = atlas("compute", "get", "secret-looking-argument")
    assert (human.code, human.out) == (1, "")
    assert human.err.startswith("error: unexpected ZeroDivisionError: oh no\nhint:  the traceback is in ")
    [file] = (tmp_path / "atlas" / "state" / "crashes").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ZeroDivisionError" in file.read_text() and "secret-looking-argument" not in file.read_text()
    as_json = atlas("compute", "get", "x", "--json")
    assert (as_json.code, as_json.json["error"]["kind"], as_json.err) == (1, "unexpected", "")
    monkeypatch.setenv("ATLAS_DEBUG", "1")
    assert "Traceback (most recent call last)" in atlas("compute", "get", "x").err


def test_a_reader_that_has_had_enough_is_no_error(
    begun: Callable[..., Any], atlas: Atlas, world: World, until: Callable[..., None]
) -> None:
    ident = atlas("compute", "spawn", "--json", "--", "x").json["id"]
    world.log(ident, *(f"line {n}" for n in range(200)))
    process = begun("compute", "logs", ident, "--follow")
    assert process.stdout.readline()
    process.stdout.close()

    def ended() -> bool:
        world.log(ident, "another")
        return process.poll() is not None

    until(ended, timeout=30)
    assert (process.returncode, process.stderr.read()) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_full_disk_under_the_output_is_told(shell: Atlas, world: World, tmp_path: Path) -> None:
    import subprocess
    import sys

    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", "from pulumi_atlas.cli import main; main()", "compute", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output could not be written: No space left")


def test_a_key_that_others_can_read_is_warned_of_on_stderr_only(atlas: Atlas, world: World, tmp_path: Path) -> None:
    file = tmp_path / "atlas.yaml"
    file.write_text("providers:\n  mock: {api_key: hunter2}\n")
    file.chmod(0o644)
    done = atlas("compute", "list", "--json")
    assert done.json == []
    assert done.err.startswith("warning: ") and "chmod 600" in done.err and "hunter2" not in done.err
