"""A create that cannot succeed says why, with the last lines of the log, and leaves no process, no folder, no intent."""

from __future__ import annotations

import pytest

from pulumi_atlas import processes
from tests.e2e.project import Project

pytestmark = pytest.mark.e2e


def nothing_left(project: Project) -> None:
    assert project.rented() == []
    assert project.intents() == []
    assert not [row for row in project.resources().values() if row["type"].endswith(":Pod")]
    folder = project.environ["ATLAS_LOCAL_DIR"]
    assert list(processes.processes_with("ATLAS_LOCAL_DIR", folder)) == []


def test_a_process_that_dies(project: Project) -> None:
    project.program("""
        atlas.Pod("p", provider="local", ports=["80"],
                  command=["python", "-c", "import sys; print('cannot find the data', file=sys.stderr); sys.exit(4)"])
    """)
    failed = project.up().failed()
    assert "code 4" in failed.out and "cannot find the data" in failed.out
    nothing_left(project)


def test_a_process_without_ports_that_dies_at_once(project: Project) -> None:
    project.program("""
        atlas.Pod("p", provider="local", command=["sh", "-c", "echo no such config; exit 3"])
    """)
    failed = project.up().failed()
    assert "no such config" in failed.out
    nothing_left(project)


def test_a_port_that_never_opens(project: Project) -> None:
    project.program("""
        atlas.Pod("p", provider="local", ports=["80"], ready=atlas.Ready(timeout_s=1),
                  command=["python", "-uc", "import time; print('still loading'); time.sleep(600)"])
    """)
    failed = project.up().failed()
    assert "port 80 did not answer" in failed.out and "still loading" in failed.out and "$PORT" in failed.out
    nothing_left(project)


def test_a_command_that_does_not_exist(project: Project) -> None:
    project.program('atlas.Pod("p", provider="local", command=["no-such-program-anywhere"])')
    failed = project.up().failed()
    assert "no-such-program-anywhere" in failed.out and "Traceback" not in failed.out
    nothing_left(project)


def test_a_full_disk_loses_nothing(project: Project) -> None:
    """The folder for intents cannot be written: nothing is rented."""
    project.program('atlas.Pod("p", provider="local", command=["sleep", "600"])')
    project.start()
    blocked = project.folder / "a-file"
    blocked.write_text("")
    failed = project.up(environ={"ATLAS_STATE_DIR": str(blocked)}).failed()
    assert str(blocked) in failed.out and "Traceback" not in failed.out
    assert project.rented() == []
