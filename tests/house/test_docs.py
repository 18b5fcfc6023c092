"""The Python of docs/ runs as it stands there, each block by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.house.test_readme import RUN_PROGRAM, Block, _run, blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCKS = [(page, block) for page in sorted(DOCS.rglob("*.md")) for block in blocks(page)]


@pytest.mark.parametrize(
    ("page", "block"), BLOCKS, ids=lambda value: getattr(value, "stem", None) or f"line {value.line}"
)
def test_each_block_runs(page: Path, block: Block, tmp_path: Path) -> None:
    program = tmp_path / "__main__.py"
    program.write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
    command = [sys.executable, "-c", RUN_PROGRAM, str(program)] if block.is_program else [sys.executable, str(program)]
    _run(command, tmp_path)


def test_there_is_something_to_run() -> None:
    assert BLOCKS
