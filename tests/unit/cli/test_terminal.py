"""On a terminal: tables that fit 80 columns, colours unless they are not wanted, a spinner, and a question before harm."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World

pytestmark = pytest.mark.slow  # real processes; not part of `make check`

Atlas = Callable[..., Any]
PROGRAM = [sys.executable, "-c", "from pulumi_atlas.cli import main; main()"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Seen:
    code: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """What stands there in the end: without escapes, and without what a carriage return has overwritten."""
        lines = self.raw.replace("\r\n", "\n").split("\n")
        return [ESCAPES.sub("", line.rpartition("\r")[2]).rstrip() for line in lines]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def terminal(tmp_path: Path) -> Callable[..., Seen]:
    """Runs a command line on a terminal of 80 columns; `answer` is typed once a question is asked."""

    def call(*words: str, answer: str = "", columns: int = 80, **environ: str) -> Seen:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        process = subprocess.Popen(
            [*PROGRAM, *words],
            cwd=tmp_path,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**clean, "TERM": "xterm-256color", **environ},
            start_new_session=True,
        )
        os.close(slave)
        try:
            raw = _converse(master, answer)
            return Seen(process.wait(timeout=30), raw)
        finally:
            os.close(master)
            if process.poll() is None:
                process.kill()
                process.wait()

    return call


def _converse(master: int, answer: str) -> str:
    raw, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(master, 65_536)
        except OSError:  # the other side has closed it
            break
        if not piece:
            break
        raw += piece
        if answer and b"[y/N]" in raw:
            os.write(master, answer.encode())
            answer = ""
    return raw.decode()


def test_a_table_fits_eighty_columns_and_keeps_ids_whole(terminal: Callable[..., Seen], world: World) -> None:
    names = ["short", "a-name-of-sixty-three-letters-which-is-as-long-as-a-name-may-be"]
    pods = [world.plant(ComputeSpec(name=name, gpu=("h100",), gpu_count=8, command=("x",))) for name in names]
    seen = terminal("compute", "list")
    assert seen.code == 0
    assert max(len(line) for line in seen.lines) <= 80
    for pod in pods:
        assert pod.id in seen.text
    assert names[1] in re.sub(r"\s+", "", seen.text) or names[1][-8:] in seen.text
    assert "\x1b[32mrunning" in seen.raw


@pytest.mark.parametrize(
    "words", [("gpus",), ("gpus", "--live"), ("gpus", "--provider", "runpod"), ("providers",), ("--help",)]
)
def test_nothing_is_wider_than_the_terminal(
    terminal: Callable[..., Seen], world: World, words: tuple[str, ...]
) -> None:
    seen = terminal(*words)
    assert seen.code == 0
    assert max(len(line) for line in seen.lines) <= 80


def test_no_color_means_no_colour(terminal: Callable[..., Seen], world: World) -> None:
    world.plant(ComputeSpec(command=("x",)))
    plain = terminal("compute", "list", NO_COLOR="1")
    assert "running" in plain.text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain.raw)
    error = terminal("compute", "get", "nope", NO_COLOR="1")
    assert "error: mock:" in error.text and not re.search(r"\x1b\[[0-9;]*3[0-9]m", error.raw)
    assert "\x1b[1;31merror:" in terminal("compute", "get", "nope").raw


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(
    terminal: Callable[..., Seen], shell: Atlas, world: World
) -> None:
    spawn = ("compute", "spawn", "--wait", "--name", "slow", "--json", "--", "x")
    seen = terminal(*spawn, ATLAS_MOCK_PROVISION_S="1")
    assert "renting slow" in seen.text
    assert "provisioning" in seen.raw
    piped = shell(*spawn, ATLAS_MOCK_PROVISION_S="0.2")
    assert (piped.code, piped.err) == (0, "")


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 8, 1), ("\n", 8, 1), ("y\n", 0, 0), ("\x04", 8, 1)])
def test_harm_is_asked_for_and_only_yes_does_it(
    terminal: Callable[..., Seen], world: World, answer: str, code: int, left: int
) -> None:
    pod = world.plant(ComputeSpec(command=("x",)))
    seen = terminal("compute", "terminate", pod.id, answer=answer)
    assert f"Terminate {pod.id}?" in seen.text
    assert seen.code == code
    assert len(world.pods) == left
    assert ("nothing was done" in seen.text) == bool(left)


def test_a_strangers_name_cannot_drive_the_terminal(terminal: Callable[..., Seen], world: World) -> None:
    pod = world.plant(ComputeSpec(command=("sh", "-c", "\x1b[31mred\x07")))
    seen = terminal("compute", "get", pod.id)
    assert "red" in seen.text
    assert "\x1b[31mred" not in seen.raw and "\x07" not in seen.raw
