"""Which project, stack and state backend a folder means, found without asking the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pulumi_atlas.errors import ConfigError

__all__ = ["Backend", "Project", "find_backend", "find_project", "home_of", "require_project"]

BackendKind = Literal["file", "bucket", "cloud", "none"]

_NAMES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


@dataclass(frozen=True)
class Project:
    """A folder with a `Pulumi.yaml`. `backend_url` is what that file says of the state, if anything."""

    folder: Path
    name: str
    backend_url: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "name": self.name}


@dataclass(frozen=True)
class Backend:
    """Where state is kept. `source` says in words who decided it; `root` is the folder of a `file://` backend."""

    url: str | None
    source: str
    kind: BackendKind
    root: Path | None = None

    def as_json(self) -> dict[str, Any]:
        return {"url": self.url, "source": self.source, "kind": self.kind}


def find_project(cwd: Path) -> Project | None:
    """The Pulumi project of a folder or of the nearest one above it. Raises ConfigError when its file cannot be read."""
    here = cwd.absolute()
    for folder in (here, *here.parents):
        for name in _NAMES:
            if (folder / name).is_file():
                return _project(folder, folder / name)
    return None


def require_project(cwd: Path) -> Project:
    """As `find_project`. Raises ConfigError when there is none."""
    project = find_project(cwd)
    if project is None:
        raise ConfigError(f"{cwd} is in no Pulumi project", hint="run it in the project's folder, or say --cwd")
    return project


def find_backend(environ: Mapping[str, str], project: Project | None) -> Backend:
    """The backend by the engine's own order: PULUMI_BACKEND_URL, the project's file, then `pulumi login`."""
    base = project.folder if project else Path.cwd()
    if environ.get("PULUMI_BACKEND_URL"):
        return _backend(environ["PULUMI_BACKEND_URL"], "PULUMI_BACKEND_URL", base, environ)
    if project and project.backend_url:
        return _backend(project.backend_url, "the project's file", base, environ)
    logged_in = _logged_in(environ)
    if logged_in:
        return _backend(logged_in, "`pulumi login`", base, environ)
    return Backend(None, "nothing", "none")


def home_of(backend: Backend, project: str, stack: str) -> str | None:
    """Where a state is kept, in words that hold no key: by it a state that was moved or copied is told from the one that
    was made. None when the backend is not known."""
    if backend.url is None:
        return None
    place = f"file://{backend.root}" if backend.root else _plain_url(backend.url)
    return f"{place} {project}/{stack.rpartition('/')[2]}"


def _plain_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".rstrip("/")


def _project(folder: Path, file: Path) -> Project:
    import yaml  # here, because most runs of the command line read no project

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {file}: {type(error).__name__}", hint="mend the file") from None
    fields = content if isinstance(content, dict) else {}
    if not isinstance(fields.get("name"), str):
        raise ConfigError(f"{file} has no `name:`", hint="every Pulumi project has one")
    backend = fields.get("backend")
    url = backend.get("url") if isinstance(backend, dict) else None
    return Project(folder, fields["name"], str(url) if url else None)


def _logged_in(environ: Mapping[str, str]) -> str | None:
    home = Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME") or Path.home()) / ".pulumi")
    try:
        content = json.loads((home / "credentials.json").read_bytes())
    except (OSError, ValueError):
        return None
    current = content.get("current") if isinstance(content, dict) else None
    return str(current) if current else None


def _backend(url: str, source: str, base: Path, environ: Mapping[str, str]) -> Backend:
    if url.startswith("file://"):
        path = url.removeprefix("file://").partition("?")[0]
        home = environ.get("HOME") or str(Path.home())
        expanded = home + path[1:] if path == "~" or path.startswith("~/") else path
        return Backend(url, source, "file", (base / expanded).absolute())
    cloud = url.startswith(("http://", "https://"))
    return Backend(url, source, "cloud" if cloud else "bucket")
