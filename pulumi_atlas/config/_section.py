"""A section of atlas.yaml that another room understands: its plain value, and the line of each of its keys."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi_atlas.config._fault import Fault
from pulumi_atlas.config._settings import FILE_NAME, FILE_VARIABLE, file_text, find_file
from pulumi_atlas.errors import ConfigError

if TYPE_CHECKING:
    import yaml
    from pydantic import BaseModel, ValidationError

__all__ = ["RawSection", "load_section"]


@dataclass(frozen=True)
class RawSection:
    """`value`: what the section holds; empty when there is no file, or no such section in it. `file`: None without a file."""

    name: str
    file: Path | None
    value: Mapping[str, Any] = field(default_factory=dict)
    node: yaml.Node | None = field(default=None, repr=False)

    def fault(self, steps: Sequence[int | str], message: str, hint: str = "") -> Fault:
        """What is wrong at that place of the section."""
        from pulumi_atlas.config._file import line_of

        whole = (self.name, *steps)
        return Fault(self.file or Path(FILE_NAME), line_of(self.node, whole), ".".join(map(str, whole)), message, hint)

    def faults_of(self, error: ValidationError, model: type[BaseModel]) -> list[Fault]:
        """What pydantic found, in our words, with the nearest known name for a key that `model` does not know."""
        from pulumi_atlas.config._file import words_of

        return [self.fault(one["loc"], *words_of(model, one)) for one in error.errors()]


def load_section(
    name: str, *, file: Path | None = None, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> RawSection:
    """The section of `file`, or of the atlas.yaml that counts (see `load`). Raises as `load` does, for the whole file."""
    env = os.environ if environ is None else environ
    here = (cwd or Path.cwd()).absolute()
    if file is not None and not file.is_file():
        raise ConfigError(f"there is no file {file}", hint=f"name the {FILE_NAME} to read, here or in {FILE_VARIABLE}")
    path = file.absolute() if file is not None else find_file(cwd=here, environ=env)
    if path is None:
        return RawSection(name, None)
    from pulumi_atlas.config._file import parse_section  # here, because it costs more than the rest of this package

    value, node = parse_section(file_text(path), path, name)
    return RawSection(name, path, value, node)
