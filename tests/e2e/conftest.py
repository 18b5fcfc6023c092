"""Every end-to-end test has its own project, and leaves nothing running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

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
