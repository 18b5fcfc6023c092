"""What the tests of the mock cloud share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pulumi_atlas.access import Access
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec, JobSpec
from pulumi_atlas.providers.mock import MockProvider, World

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def tag(path: str = "atlas:Pod::x") -> Tag:
    return Tag(new_birth(), Owner("stack", "0123456789abcdef", path))


def cloud(**environ: str) -> MockProvider:
    """A provider on a world of its own, whose clock stands still."""
    world = World.fresh()
    world.freeze()
    return MockProvider(Access("mock", environ=environ), world=world)


def in_file(path: Path, account: str | None = None, **environ: str) -> MockProvider:
    return MockProvider(Access("mock", account, environ={"ATLAS_MOCK_FILE": str(path), **environ}))


def pod(**fields: Any) -> ComputeSpec:
    return ComputeSpec.model_validate(fields)


def job(endpoint: str, given: Any = None, **fields: Any) -> JobSpec:
    return JobSpec.model_validate({"endpoint": endpoint, "input": {"a": 1} if given is None else given, **fields})
