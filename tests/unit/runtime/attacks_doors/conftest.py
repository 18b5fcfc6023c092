"""The kits of the tests of HTTP and of the core, here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("http", "core")]
