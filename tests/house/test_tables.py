"""The README's tables that are made from the code say what the code says now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_tables_of_the_readme_are_up_to_date(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "tools" / "readme_tables.py"), "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `python tools/readme_tables.py` and commit README.md\n{done.stderr}"


def test_every_link_between_our_pages_leads_somewhere(root: Path, tracked: list[Path]) -> None:

    lost = []
    for page in (path for path in tracked if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(root)}: {target}")
    assert not lost, lost


def test_the_readme_reaches_working_code_on_its_first_screen(root: Path) -> None:
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.index("```python") < 20
