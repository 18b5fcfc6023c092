"""Keys in a stack's configuration: their names, and the rule that they are secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pulumi_atlas.errors import Failure

__all__ = ["refuse_plain_keys", "stack_key"]

# Also the spellings that nothing reads: a key in clear is one, however its name is written.
_KEY_NAME = re.compile(r"atlas:\w*api_?key", re.IGNORECASE)


def stack_key(provider: str) -> str:
    """The name of the stack secret that holds the provider's key: `runpod` → ``atlas:runpodApiKey``."""
    first, *rest = (word for word in re.split(r"[_\W]+", provider) if word)
    return "atlas:" + first + "".join(word[:1].upper() + word[1:] for word in rest) + "ApiKey"


def refuse_plain_keys(config_yaml: Mapping[str, Any]) -> list[Failure]:
    """A failure for each key that the `config:` block of a `Pulumi.<stack>.yaml` holds in clear.

    A secret is a mapping with the only entry `secure`. Never shows the value.
    """
    failures = []
    for name, value in config_yaml.items():
        if not _KEY_NAME.fullmatch(str(name)) or value is None or value == "":
            continue
        if isinstance(value, Mapping) and set(value) == {"secure"}:
            continue
        hint = (
            f"`pulumi config set --secret {name}` replaces it; change the key too, for this file may have been shared"
        )
        failures.append(Failure(str(name), "this key stands in clear in the stack's configuration", hint))
    return failures
