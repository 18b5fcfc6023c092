"""A Pulumi project in a temporary folder with a state and a home of its own, run by the real engine, and timed."""

from __future__ import annotations

import itertools
import subprocess
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from pulumi_atlas import engine

__all__ = ["Bench", "MeasurementFailed", "Project"]

_TIMEOUT_S = 300
_ONCE = ("--yes", "--skip-preview", "--non-interactive")


class MeasurementFailed(RuntimeError):
    """A command that was to be measured did not do its work."""


class Project:
    """One project with one stack `dev`. Verbs return the seconds that the engine's command took."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder, self.environ = folder, environ

    def run(self, *args: str, parallel: int | None = None) -> float:
        """Run one command of the engine. `parallel`: None leaves the engine's default. Raises MeasurementFailed."""
        environ = dict(self.environ)
        environ.pop("PULUMI_PARALLEL", None)
        flags = () if parallel is None else ("--parallel", str(parallel))
        began = time.perf_counter()
        done = subprocess.run(
            ["pulumi", *args, *flags],
            cwd=self.folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            text=True,
            check=False,
        )
        took = time.perf_counter() - began
        if done.returncode:
            raise MeasurementFailed(f"pulumi {' '.join(args)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return took

    def up(self, parallel: int | None = 64) -> float:
        return self.run("up", *_ONCE, parallel=parallel)

    def refresh(self, parallel: int | None = 64) -> float:
        return self.run("refresh", *_ONCE, parallel=parallel)

    def destroy(self, parallel: int | None = 64) -> float:
        return self.run("destroy", *_ONCE, parallel=parallel)


class Bench:
    """Makes fresh projects below one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counter = itertools.count(1)

    def project(self, files: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Project:
        """A project with these files (`__main__.py` among them) and an empty stack."""
        home = self.folder / f"p{next(self._counter)}"
        place = home / "project"
        for one in (place, home / "home", home / "state"):
            one.mkdir(parents=True)
        (place / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
        for name, text in files.items():
            (place / name).write_text(textwrap.dedent(text))
        made = Project(place, {**self._environment(home), **(environ or {})})
        made.run("stack", "init", "dev", "--non-interactive")
        return made

    def _environment(self, home: Path) -> dict[str, str]:
        return {
            **engine.command_environment(engine.require()),
            "PULUMI_BACKEND_URL": f"file://{home / 'state'}",
            "PULUMI_HOME": str(home / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "ATLAS_LOCAL_DIR": str(home / "local"),
            "ATLAS_STATE_DIR": str(home / "atlas-state"),
            "ATLAS_MOCK_FILE": str(home / "mock.json"),
        }
