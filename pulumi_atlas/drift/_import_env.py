"""Where the environments of imported things are kept: as secret settings of the stack, from which the program reads them.

One thing has a setting of its own (`trainerEnv`); several that are imported at once share one (`importedEnv`, by name),
because each setting that is written takes the engine most of a second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["EnvPlace", "place_envs"]

_SHARED = "importedEnv"


@dataclass(frozen=True)
class EnvPlace:
    """The setting's name, and the entry in it where several share it."""

    key: str
    entry: str | None = None

    def __str__(self) -> str:
        return self.key if self.entry is None else f"{self.key}, entry {self.entry}"


def place_envs(
    envs: Sequence[tuple[str, Mapping[str, str]]], settings: Mapping[str, str]
) -> tuple[list[EnvPlace | None], dict[str, str]]:
    """A place for each (name, env), None for an empty one; and the settings to write, as JSON texts.

    What a setting holds already, from an import that was interrupted, is not written again; no setting of the user's is
    ever overwritten.
    """
    places = [_found(name, env, settings) if env else None for name, env in envs]
    missing = [number for number, (_, env) in enumerate(envs) if env and places[number] is None]
    if not missing:
        return places, {}
    if len(missing) == 1:
        name, env = envs[missing[0]]
        key = _free(f"{name}Env", settings)
        places[missing[0]] = EnvPlace(key)
        return places, {key: _text(env)}
    key = _free(_SHARED, settings)
    shared: dict[str, Mapping[str, str]] = {}
    for number in missing:
        name, env = envs[number]
        entry = _free(name, shared)
        shared[entry] = env
        places[number] = EnvPlace(key, entry)
    return places, {key: _text(shared)}


def _found(name: str, env: Mapping[str, str], settings: Mapping[str, str]) -> EnvPlace | None:
    for key, text in settings.items():
        if key.startswith(f"{name}Env") and _read(text) == env:
            return EnvPlace(key)
        entries = _read(text) if key.startswith(_SHARED) else None
        if isinstance(entries, dict) and entries.get(name) == env:
            return EnvPlace(key, name)
    return None


def _free(wanted: str, taken: Mapping[str, Any]) -> str:
    key, number = wanted, 2
    while key in taken:
        key, number = f"{wanted}{number}", number + 1
    return key


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
