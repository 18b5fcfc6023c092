"""`atlas` as a process of its own in a project's folder, with nobody at its terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.e2e.project import Project

__all__ = ["PROGRAM", "Done", "atlas"]

PROGRAM = [sys.executable, "-c", "from pulumi_atlas.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Done:
        assert self.code == 0, self.out + self.err
        return self


def atlas(project: Project, *words: str, **environ: str) -> Done:
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=project.folder,
        env={**project.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
