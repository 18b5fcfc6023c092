"""The pages of docs/ that show a terminal say what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.console import Console, shown
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [page for page in sorted(DOCS.glob("*.md")) if list(shown(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_happens(page: Path, project: Project, tmp_path: Path) -> None:
    project.folder.joinpath("serve.py").unlink()
    project._started = True  # the page makes the stack itself
    project.environ.update(PYTHONDONTWRITEBYTECODE="1")
    Console(project.folder, project.environ, tmp_path / "tools").follow(page)
    assert [project.rented(kind) for kind in ("pods", "endpoints", "volumes")] == [[], [], []]
    assert project.intents() == []
