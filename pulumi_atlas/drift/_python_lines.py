"""The lines of Python that declare what was imported: for a person to paste into the program. They hold no secret."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.drift._import_env import EnvPlace

__all__ = ["Declaration", "literal", "python_lines"]

_TAKEN = frozenset({"atlas", "config", "pulumi"})
_WIDTH = 100


@dataclass(frozen=True)
class Declaration:
    """One resource: its class's name, its own name, its id, its arguments, and where its `env` is kept."""

    class_name: str
    name: str
    id: str
    arguments: Mapping[str, Any]
    env_place: EnvPlace | None = None


def python_lines(declarations: Sequence[Declaration]) -> str:
    """The lines for all of them, with the imports that they need. What one declares, another refers to by its variable."""
    if not declarations:
        return ""
    names = _variables(declarations)
    configured = any(one.env_place for one in declarations)
    head = (["import pulumi"] if configured else []) + ["import pulumi_atlas as atlas", ""]
    head += ["config = pulumi.Config()"] if configured else []
    blocks = [_block(one, names[one.id], names) for one in declarations]
    return "\n".join([*head, *blocks]) + "\n"


def literal(value: Any) -> str:
    """A plain value as Python writes it, on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if value.isprintable() else repr(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(inner)}" for key, inner in value.items()) + "}"
    return repr(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return f'float("{value}")'
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _block(one: Declaration, variable: str, names: Mapping[str, str]) -> str:
    given = [f"{key}={_argument(key, value, names)}" for key, value in one.arguments.items() if key != "env"]
    if one.env_place:
        given.append(f"env={_from_settings(one.env_place)}")
    head, inner = f"{variable} = atlas.{one.class_name}(", [literal(one.name), *given]
    line = head + ", ".join(inner) + ")"
    return line if len(line) <= _WIDTH else "\n".join([head, *(f"    {text}," for text in inner), ")"])


def _from_settings(place: EnvPlace) -> str:
    entry = f"[{literal(place.entry)}]" if place.entry is not None else ""
    return f"config.require_secret_object({literal(place.key)}){entry}"


def _argument(key: str, value: Any, names: Mapping[str, str]) -> str:
    if key == "workers":
        return "atlas.Workers(" + ", ".join(f"{name}={literal(inner)}" for name, inner in value.items()) + ")"
    if key == "volumes":
        mounts = (f"{literal(path)}: {_volume(ident, names)}" for path, ident in value.items())
        return "{" + ", ".join(mounts) + "}"
    return literal(value)


def _volume(ident: str, names: Mapping[str, str]) -> str:
    return f"{names[ident]}.id" if ident in names else literal(ident)


def _variables(declarations: Iterable[Declaration]) -> dict[str, str]:
    """A variable for each id: the resource's name as far as Python allows."""
    found: dict[str, str] = {}
    for one in declarations:
        wanted = re.sub(r"\W", "_", one.name, flags=re.ASCII)
        wanted = f"_{wanted}" if not wanted or wanted[0].isdigit() else wanted
        if keyword.iskeyword(wanted) or keyword.issoftkeyword(wanted) or wanted in _TAKEN:
            wanted += "_"
        variable, number = wanted, 2
        while variable in found.values():
            variable, number = f"{wanted}_{number}", number + 1
        found[one.id] = variable
    return found
