"""sdk/python/vectors.json is what the code says now, and covers every reason and every section of the specification."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from atlas_session import errors


def test_the_vectors_are_up_to_date(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "tools" / "session_vectors.py"), "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `python tools/session_vectors.py` and commit vectors.json\n{done.stderr}"


def test_the_vectors_hold_every_reason_for_both_forms(root: Path) -> None:
    cases = json.loads((root / "sdk/python/vectors.json").read_text(encoding="utf-8"))["verification"]
    counts = Counter((one["form"], one["result"]) for one in cases)
    kinds = [getattr(errors, name) for name in errors.__all__]
    reasons = {kind.reason for kind in kinds if issubclass(kind, errors.AccessDenied)} - {errors.AccessDenied.reason}
    assert {result for form, result in counts if form == "url"} == reasons | {"ok"}
    assert {result for form, result in counts if form == "path"} == (reasons | {"ok"}) - {"already_used"}
    assert len(cases) >= 150


def test_the_specification_names_every_reason(root: Path) -> None:
    text = (root / "sdk/python/SPECIFICATION.md").read_text(encoding="utf-8")
    kinds = [getattr(errors, name) for name in errors.__all__]
    reasons = {kind.reason for kind in kinds if issubclass(kind, errors.AccessDenied)} - {errors.AccessDenied.reason}
    assert reasons <= set(re.findall(r"\*([a-z_]+)\*", text))
