"""The README's Python runs as it stands there: plain blocks in order in one namespace, Pulumi programs each by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "README.md"

RUN_PROGRAM = """
import asyncio, runpy, sys
import pulumi

class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        known = {key: value for key, value in args.inputs.items() if value is not None}
        ports = [str(port).partition("/")[0] for port in known.get("ports", ())]
        known |= {"urls": {port: f"http://127.0.0.1:{port}" for port in ports}, "url": "http://127.0.0.1:80"}
        return args.resource_id or f"{args.name}-id", known

    def call(self, args):
        return {}

asyncio.set_event_loop(asyncio.new_event_loop())
pulumi.runtime.set_mocks(Mocks(), project="readme", stack="dev")

@pulumi.runtime.test
def program():
    runpy.run_path(sys.argv[1], run_name="__main__")

program()
"""


class Block(NamedTuple):
    line: int
    code: str

    @property
    def is_program(self) -> bool:
        """Whether it is a Pulumi program: it imports the engine's SDK."""
        return re.search(r"^\s*(import pulumi\b|from pulumi\b)", self.code, re.M) is not None


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```python[^\n]*\n(.*?)^```", text, re.M | re.S)
    return [Block(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def test_the_plain_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [block for block in blocks(DOCUMENT) if not block.is_program]
    assert plain, "the README shows no Python"
    whole = tmp_path / "readme.py"
    lines: list[str] = []
    for block in plain:  # kept on its own line numbers, so that a traceback points into the README
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.splitlines()
    whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _run([sys.executable, str(whole)], tmp_path, ATLAS_PROVIDER="mock")


@pytest.mark.parametrize("block", [b for b in blocks(DOCUMENT) if b.is_program], ids=lambda b: f"line {b.line}")
def test_each_pulumi_program_runs(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "__main__.py"
    program.write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
    _run([sys.executable, "-c", RUN_PROGRAM, str(program)], tmp_path, ATLAS_PROVIDER="mock")


def _run(command: list[str], folder: Path, **settings: str) -> None:
    environ = {**os.environ, **settings}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
