"""A program pays for what it uses: the classes of resources come without models, providers and HTTP."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
import pulumi
before = set(sys.modules)
import pulumi_atlas as atlas
atlas.Pod, atlas.Volume, atlas.Endpoint
json.dump(sorted(set(sys.modules) - before), sys.stdout)
"""

HEAVY = ("httpx", "pydantic", "rich", "starlette", "typer", "uvicorn", "pulumi_atlas.client", "pulumi_atlas.models")


def test_a_program_that_names_the_resources_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "pulumi_atlas.resources.pod" in loaded
    assert not loaded & set(HEAVY)
