"""What is wrong in atlas.yaml: where it stands, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import ConfigError

__all__ = ["Fault", "FileRefused"]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the file. `key`: dotted (`runtime.templates.gpu.spec.ports.0`), empty for the whole file."""

    file: Path
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        text = f"{self.file}:{self.line}: {key}{self.message}" + (f" ({self.hint})" if self.hint else "")
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

    def as_json(self) -> dict[str, Any]:
        """The fault for `--json`."""
        told = {"file": str(self.file), "line": self.line, "key": self.key, "message": self.message}
        return told | ({"hint": self.hint} if self.hint else {})


class FileRefused(ConfigError):
    """atlas.yaml is wrong; `faults` names everything that was found, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("; ".join(map(str, self.faults)), hint="mend the file; nothing was done")

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "faults": [fault.as_json() for fault in self.faults]}
