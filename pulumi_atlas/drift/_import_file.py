"""The engine's import file: resources with inputs and outputs, secrets in its plaintext-secret form.

The engine turns that form into ciphertext before it writes anything, so that no state, copy, history or backup ever holds
the value in clear.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pulumi_atlas.resources.existing import Stored

__all__ = ["import_content"]

_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def import_content(rows: Iterable[Stored]) -> bytes:
    """The file's content. It holds secrets in clear: it is for the engine's standard input and for nothing else."""
    resources = [
        {
            "type": row.type,
            "name": row.name,
            "id": row.id,
            "inputs": _side(row.inputs, row.secret),
            "outputs": _side(row.outputs, row.secret),
        }
        for row in rows
    ]
    return json.dumps({"resources": resources}).encode()


def _side(properties: Mapping[str, Any], secret: Collection[str]) -> dict[str, Any]:
    return {name: _hidden(value) if name in secret else value for name, value in properties.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_secret(inner) for name, inner in value.items()}
    return _as_secret(value)


def _as_secret(value: Any) -> dict[str, str]:
    return {_SIGNATURE: _SECRET, "plaintext": json.dumps(value)}
