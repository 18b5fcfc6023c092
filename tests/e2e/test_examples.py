"""Every example does what its page says, with the real engine; and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.console import Console, blocks, shown
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Those that are Pulumi projects; tests/browser runs those that have a companion.
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("[0-9][0-9]-*/Pulumi.yaml"))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    if list(Path(made.environ["PULUMI_BACKEND_URL"].removeprefix("file://")).rglob("stacks/*/dev.json")):
        made.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")


@pytest.mark.parametrize("example", FOLDERS, ids=lambda path: path.name)
def test_an_example_does_what_its_page_says(example: Path, project: Project, tmp_path: Path) -> None:
    shutil.copytree(example, project.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    project._started = True  # the page makes the stack itself
    site = tmp_path / "site"
    project.environ.update(
        # what a page installs goes into a folder of this test, and comes from nowhere else
        PIP_TARGET=str(site),
        PIP_NO_DEPS="1",
        PIP_NO_INDEX="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PYTHONPATH=str(site),
        PYTHONDONTWRITEBYTECODE="1",
    )
    Console(project.folder, project.environ, tmp_path / "tools").follow(example / "README.md")
    assert [project.rented(kind) for kind in ("pods", "endpoints", "volumes")] == [[], [], []]
    assert project.intents() == []


@pytest.mark.parametrize("example", FOLDERS, ids=lambda path: path.name)
def test_a_page_goes_from_the_stack_to_its_end(example: Path) -> None:
    commands = [step.command for step in shown(example / "README.md")]
    words = " ".join(commands)
    for part in ("pulumi stack init", "pulumi up", "pulumi destroy", "pulumi stack rm"):
        assert part in words, f"{example.name} does not show `{part}`"


def test_the_set_up_on_the_page_gives_an_engine_and_the_command_line(tmp_path: Path, root: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("tools", "pulumi_atlas"):
        (checkout / name).symlink_to(root / name)
    (checkout / ".venv").symlink_to(sys.prefix)
    [(_, text)] = blocks(root / "examples" / "README.md", "bash")
    commands = text.replace("make setup\n", "").replace("file://~", f"file://{tmp_path}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    environ = {**kept, "PULUMI_HOME": str(tmp_path / "home")}
    code, printed = Console(checkout, environ, tmp_path / "tools").run(
        f"set -e\n{commands}\npulumi whoami -v; pulumi version; atlas --version"
    )
    assert code == 0, printed
    assert f"file://{tmp_path}" in printed
    assert "atlas 0." in printed


def test_the_first_page_of_the_readme_is_true(project: Project, tmp_path: Path, root: Path) -> None:
    project.folder.joinpath("Pulumi.yaml").unlink()
    program = next(text for _, text in blocks(root / "README.md", "python") if "import pulumi\n" in text)
    project.folder.joinpath("__main__.py").write_text(program, encoding="utf-8")
    project._started = True
    Console(project.folder, project.environ, tmp_path / "tools").follow(root / "README.md")
    assert [project.rented(kind) for kind in ("pods", "endpoints", "volumes")] == [[], [], []]
    assert project.intents() == []
