"""Another account, or no answer, is an error that loses nothing."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

SLEEP = 'atlas.Pod("p", provider="local", command=["sleep", "600"])'


def test_another_account_is_an_error_in_refresh_and_destroy(project: Project) -> None:
    project.program(SLEEP).up().ok()
    elsewhere = {"ATLAS_LOCAL_DIR": str(project.folder.parent / "another-folder")}
    for run in (project.refresh(environ=elsewhere), project.destroy(environ=elsewhere)):
        run.failed()
        assert "was made in account" in run.out and "nothing was changed" in run.out
    assert len(project.rented()) == 1
    assert "p" in project.resources()
    assert project.drift().code == 0


def test_an_unreachable_provider_is_an_error_and_nothing_is_lost(project: Project) -> None:
    world = project.folder / "world.json"
    environ = {"ATLAS_MOCK_FILE": str(world)}
    project.program('atlas.Pod("p", provider="mock", command=["x"], image="i")').up(environ=environ).ok()
    content = world.read_text()
    from pulumi_atlas.providers.mock import World

    opened = World.open(world)
    opened.fail_next("list_compute", "transport", times=50)
    opened.fail_next("get_compute", "transport", times=50)
    failed = project.refresh(environ=environ).failed()
    assert "transport" in failed.out and "Traceback" not in failed.out
    assert "p" in project.resources()
    world.write_text(content)
    project.refresh(environ=environ).ok()
    assert "p" in project.resources()
    project.destroy(environ=environ).ok()
