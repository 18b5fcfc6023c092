"""What a provider instance is made from: whose account, with which key, and where the key came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Access"]


@dataclass(frozen=True)
class Access:
    """What a provider instance is made from. `key` never appears in `repr`; `key_source` says in words where it came from.

    `settings` holds the provider's own settings from atlas.yaml (strings, numbers, booleans); `environ` is the
    environment to read others from, so that tests and several accounts can differ without touching the process.
    """

    provider: str
    account: str | None = None
    key: str | None = field(default=None, repr=False)
    key_source: str = ""
    base_url: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    state_dir: Path | None = None
