"""A Pulumi project in a temporary folder, run by the real engine on a `file://` state, with its own home and no passphrase."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas import Atlas, engine

ONCE = ("--yes", "--skip-preview", "--non-interactive")


@dataclass(frozen=True)
class Run:
    """What one command of the engine answered."""

    args: tuple[str, ...]
    code: int
    out: str

    def ok(self) -> Run:
        assert self.code == 0, f"pulumi {' '.join(self.args)} → {self.code}\n{self.out}"
        return self

    def failed(self) -> Run:
        assert self.code != 0, f"pulumi {' '.join(self.args)} should have failed\n{self.out}"
        return self


class Project:
    """`program(text)` sets the program; the verbs run the engine and return a `Run`."""

    def __init__(self, folder: Path, *, name: str = "proj", environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder / "project"
        self.home = folder / "home"
        self.state = folder / "state"
        for one in (self.folder, self.home, self.state):
            one.mkdir(parents=True, exist_ok=True)
        (self.folder / "Pulumi.yaml").write_text(f"name: {name}\nruntime: python\n")
        found = engine.require()
        extra = {
            "PULUMI_BACKEND_URL": f"file://{self.state}",
            "PULUMI_HOME": str(self.home),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "ATLAS_LOCAL_DIR": str(folder / "local"),
            "ATLAS_STATE_DIR": str(folder / "atlas-state"),
        }
        self.environ = {**engine.command_environment(found), **extra, **(environ or {})}
        self._started = False

    def program(self, text: str) -> Project:
        body = textwrap.dedent(text)
        (self.folder / "__main__.py").write_text("import pulumi\nimport pulumi_atlas as atlas\n" + body)
        return self

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def pulumi(self, *args: str, timeout: float = 120, environ: Mapping[str, str] | None = None) -> Run:
        if not self._started and args[0] not in ("stack", "config"):
            self.start()
        done = subprocess.run(
            ["pulumi", *args],
            cwd=self.folder,
            env={**self.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            text=True,
        )
        return Run(args, done.returncode, done.stdout)

    def start(self) -> None:
        self._started = True
        self.pulumi("stack", "init", "dev", "--non-interactive").ok()

    def up(self, *more: str, **options: Any) -> Run:
        return self.pulumi("up", *ONCE, *more, **options)

    def preview(self, *more: str, **options: Any) -> Run:
        return self.pulumi("preview", "--non-interactive", "--diff", *more, **options)

    def refresh(self, *more: str, **options: Any) -> Run:
        return self.pulumi("refresh", *ONCE, *more, **options)

    def drift(self, *more: str, **options: Any) -> Run:
        """Exit code 7 when something differs."""
        args = ("refresh", "--preview-only", "--expect-no-changes", "--diff", "--non-interactive")
        return self.pulumi(*args, *more, **options)

    def destroy(self, *more: str, **options: Any) -> Run:
        return self.pulumi("destroy", *ONCE, *more, **options)

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        shown = self.pulumi("stack", "output", "--json", *(["--show-secrets"] if secrets else [])).ok()
        parsed: dict[str, Any] = json.loads(shown.out)
        return parsed

    def export(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.pulumi("stack", "export").ok().out)
        return parsed

    def resources(self) -> dict[str, dict[str, Any]]:
        """The stack's resources of ours, by name."""
        rows = self.export()["deployment"].get("resources", [])
        return {row["urn"].split("::")[-1]: row for row in rows if "dynamic/atlas:" in row["type"]}

    def intents(self) -> list[Path]:
        return sorted(Path(self.environ["ATLAS_STATE_DIR"]).glob("intents/*.json"))

    def rented(self, kind: str = "pods") -> list[str]:
        """Ids of the things of one kind that `local` holds."""
        folder = Path(self.environ["ATLAS_LOCAL_DIR"]) / kind
        return sorted(one.name for one in folder.iterdir()) if folder.exists() else []

    def pod_pid(self, pod_id: str) -> int:
        """The process of a pod's command, as `local` recorded it."""
        return int(self.atlas.get_compute(pod_id).raw["pid"])

    @property
    def atlas(self) -> Atlas:
        """The imperative client on this project's own folders."""
        return Atlas("local", environ=self.environ, cwd=self.folder)

    def destroy_everything(self) -> None:
        """End whatever a failed test left behind."""
        atlas = self.atlas
        for pod in atlas.list_compute():
            atlas.terminate(pod.id)
        for endpoint in atlas.list_endpoints():
            atlas.delete_endpoint(endpoint.id)
