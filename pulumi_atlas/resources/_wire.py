"""Between the engine's values and ours: unknowns, spellings, hidden inputs, and what may be printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
from pydantic import BaseModel

from pulumi_atlas import gpus
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.models import Port
from pulumi_atlas.rules.unknown import UNKNOWN, holds_unknown

__all__ = ["HIDDEN", "PROVIDER_KEY", "arguments", "canonical", "plain", "redact", "spell_json"]

PROVIDER_KEY = "__provider"

#: Inputs that are ours and not the user's: who made it, for whom, and what the program process found wrong.
HIDDEN = frozenset({PROVIDER_KEY, "birth", "owner", "problems"})

#: Outputs that are secrets.
_SECRETS = ("token", "signing_key", "api_key")

#: Shorter values are too common to be told from ordinary words in a message.
_SHORTEST_SECRET = 6


def plain(value: Any) -> Any:
    """The engine's value with its unknowns turned into ours."""
    if isinstance(value, pulumi.output.Unknown):
        return UNKNOWN
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def arguments(model: type[BaseModel], props: Mapping[str, Any], outputs: Iterable[str]) -> dict[str, Any]:
    """The user's arguments: everything but hidden inputs and declared outputs; nulls left out, unknowns as ours.

    What is no argument of the model stays in, so that validation reports it.
    """
    skipped = HIDDEN | (frozenset(outputs) - frozenset(model.model_fields))
    return {k: plain(v) for k, v in props.items() if k not in skipped and v is not None}


def canonical(model: type[BaseModel], name: str, value: Any) -> Any:
    """One spelling for what can be written in several ways, where it is known."""
    if name == "ports" and isinstance(value, list):
        return [port if holds_unknown(port) else _port(port) for port in value]
    if name == "gpu" and isinstance(value, list):
        return [_gpu(gpu) if isinstance(gpu, str) else gpu for gpu in value]
    return value


def _gpu(name: str) -> str:
    try:
        return gpus.find(name).name
    except AtlasError:
        return name


def _port(value: Any) -> Any:
    try:
        return str(Port.model_validate(value))
    except ValueError:
        return value


def redact(text: str, *props: Mapping[str, Any]) -> str:
    """The text without any value of the resource's environments, old and new, and without what was issued for it.

    Each line of a value counts as well: a log shows a private key line by line.
    """
    envs = [env for one in props if isinstance(env := one.get("env"), Mapping)]
    found = [*(value for env in envs for value in env.values()), *(one.get(name) for one in props for name in _SECRETS)]
    values = [value for value in found if isinstance(value, str)]
    parts = {part.strip() for value in values for part in (value, *value.splitlines())}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = text.replace(part, "[secret]")
    return text


def spell_json(model: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of a model as plain JSON values, without nulls."""
    values = json.loads(model.model_dump_json(include=set(names)))
    return {name: value for name, value in values.items() if value is not None}
