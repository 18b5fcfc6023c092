"""atlas-session on every Python that is at hand beside the one of the tests: it runs in pods that we do not choose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_OTHERS = ("python3.11", "python3.12", "python3.13", "python3.14")

_LOAD_ALL = """
import importlib, pathlib, sys
home = pathlib.Path(sys.argv[1])
for path in sorted(home.joinpath("atlas_session").rglob("*.py")):
    if "_proxy" not in path.parts and path.name != "__main__.py":
        importlib.import_module(".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__"))
"""


@pytest.mark.parametrize("name", _OTHERS)
def test_it_loads_and_agrees_with_the_vectors(name: str, root: Path) -> None:
    python = _working(name)
    if python is None:
        pytest.skip(f"{name} is not on this machine")
    home = root / "sdk" / "python"
    environ = {**os.environ, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in (["-c", _LOAD_ALL, str(home)], [str(root / "tools" / "session_vectors.py"), "--check"]):
        done = subprocess.run(
            [python, "-W", "error", *command], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def _working(name: str) -> str | None:
    """The interpreter's path, when it is there and starts: on the path, or kept by pyenv, whose shims may lead nowhere."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [shutil.which(name), *map(str, sorted(kept.glob(f"*/bin/{name}")))]
    for python in filter(None, places):
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


def test_the_python_of_the_tests_is_new_enough() -> None:
    assert sys.version_info >= (3, 11)
