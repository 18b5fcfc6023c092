"""Every end-to-end test has its own project, and leaves nothing running."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import processes
from tests.e2e.project import Project

SERVER = """
import http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("WORD", "hello").encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    made.file("serve.py", SERVER)
    yield made
    made.destroy_everything()


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[..., Project]:
    return lambda name="other", **environ: Project(tmp_path / name, environ=environ)


def alive_with(folder: str) -> list[processes.ProcessIdentity]:
    """Processes that were started for pods of a local folder."""
    return list(processes.processes_with("ATLAS_LOCAL_DIR", folder))


@pytest.fixture
def atlas_command() -> Callable[..., tuple[int, Any]]:
    """Runs `atlas` in a project's folder. Exit code, and the JSON document (None without `--json`)."""

    def call(project: Project, *words: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-c", "from pulumi_atlas.cli import main; main()", *words],
            cwd=project.folder,
            env=project.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr

    return call
