"""Importing costs little and needs nothing: what a pod does not use is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import atlas_session

PROGRAM = """
import json, sys
before = set(sys.modules)
import atlas_session
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
CORE = {"_canonical", "_frame", "addresses", "errors", "grants", "keys", "tokens", "urls"}


def loaded(root: Path, code: str) -> set[str]:
    """Modules that a fresh interpreter, without site-packages, loads for it."""
    program = f"import sys; sys.path.insert(0, {str(root / 'sdk' / 'python')!r})\n" + PROGRAM.format(code=code)
    done = subprocess.run([sys.executable, "-S", "-I", "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def foreign(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"atlas_session"}


def ours(modules: set[str]) -> set[str]:
    return {name.removeprefix("atlas_session.") for name in modules if name.startswith("atlas_session.")}


def test_importing_loads_nothing_else(root: Path) -> None:
    modules = loaded(root, "")
    assert foreign(modules) == set()
    assert ours(modules) == set()


def test_signing_and_verifying_load_the_core_only(root: Path) -> None:
    code = """
key = bytes(32)
url = atlas_session.sign_url("https://[::1]/a?b=1", key=key, kid="k1", expires_in_s=60, address="::1")
atlas_session.verify_url(url, keys={"k1": key}, method="GET", generation=0, address="::1")
url = atlas_session.sign_path("https://pod.example/a/b", key=key, kid="k1", expires_in_s=60)
atlas_session.verify_path(url, keys={"k1": key}, method="GET", generation=0)
minted = atlas_session.mint_token()
assert atlas_session.verify_token(*minted)
atlas_session.KeyRing.from_json(atlas_session.KeyRing.new().to_json())
"""
    modules = loaded(root, code)
    assert foreign(modules) == set()
    assert ours(modules) == CORE
    assert not {name.partition(".")[0] for name in modules} & {"asyncio", "http", "ssl", "socket", "email", "logging"}


def test_every_name_of_the_front_door_can_be_had() -> None:
    assert sorted(set(atlas_session.__all__)) == sorted(atlas_session.__all__)
    assert set(atlas_session.__all__) <= set(dir(atlas_session))
    for name in atlas_session.__all__:
        assert getattr(atlas_session, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = atlas_session.nonsense
