"""What all suites share: the harness in a fresh world, and the stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from pulumi_atlas.testing.conformance._harness import Harness
from pulumi_atlas.testing.conformance._stage import Stage

__all__ = ["Suite"]


class Suite:
    """The base of the suites. A subclass whose name begins with `Test` says which harness to use."""

    harness_class: ClassVar[type[Harness]]

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[Harness]:
        """The harness, in a fresh world."""
        made = self.harness_class(tmp_path)
        yield made
        made.close()

    @pytest.fixture
    def stage(self, harness: Harness) -> Stage:
        """The stage that stories play on."""
        return Stage(harness)
