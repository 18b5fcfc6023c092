"""`atlas providers`: which clouds there are, what each can do, and whether a key for it is found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pulumi_atlas.cli import _options
from pulumi_atlas.cli._output import Out
from pulumi_atlas.errors import AtlasError, Unauthorized

if TYPE_CHECKING:
    from pulumi_atlas.config import Settings

__all__ = ["show"]


def show(as_json: _options.AsJson = False) -> None:
    """What each cloud can do, and whether a key is found.

    Keys themselves are never shown. The accounts of atlas.yaml follow after the providers.
    """
    from pulumi_atlas import config
    from pulumi_atlas.providers import registry

    out = Out(json=as_json)
    settings = config.load()
    rows = [_row(name, None, settings) for name in registry.known()]
    rows += [_row(profile.provider, account, settings) for account, profile in sorted(settings.accounts.items())]
    out.result(rows, lambda: _tell(out, rows))


def _row(name: str, account: str | None, settings: Settings) -> dict[str, Any]:
    from pulumi_atlas import config
    from pulumi_atlas.providers import registry
    from pulumi_atlas.providers.contract import abilities

    row: dict[str, Any] = {"name": name, "account": account, "source": None, "abilities": [], "key_variable": None}
    row |= {"needs_key": None, "key_found": None, "key_source": None, "default": name == _default(settings)}
    try:
        kind = registry.load(name)
    except AtlasError as error:
        return row | {"error": error.as_json()}
    needs = kind.key_variable is not None
    row |= {"source": registry.rows()[name].source, "abilities": list(abilities(kind))}
    row |= {"key_variable": kind.key_variable, "needs_key": needs}
    if not needs:
        return row
    try:
        access = config.resolve_access(
            name, account=account, key_variable=kind.key_variable, settings=settings, environ=os.environ
        )
    except Unauthorized as error:
        return row | {"key_found": False, "hint": error.hint}
    except AtlasError as error:
        return row | {"key_found": False, "error": error.as_json()}
    return row | {"key_found": True, "key_source": access.key_source}


def _default(settings: Settings) -> str | None:
    from pulumi_atlas import config

    try:
        return config.choose_provider(None, None, settings, os.environ)
    except AtlasError:
        return None


def _tell(out: Out, rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        if number:
            out.line()
        title = row["name"] + (f", account {row['account']}" if row["account"] else "")
        default = " (default)" if row["default"] and not row["account"] else ""
        source = row["source"] if row["source"] != "pulumi_atlas" else None
        pairs = [
            ("provider", title + default),
            ("key", _key_words(row)),
            ("can", _wrapped(row["abilities"]) if not row["account"] else ""),
            ("from", source or ""),
            ("error", row["error"]["message"] if "error" in row else ""),
        ]
        out.fields(pairs)


def _key_words(row: dict[str, Any]) -> str:
    if row["needs_key"] is None:
        return ""
    if not row["needs_key"]:
        return "none needed"
    if row["key_found"]:
        return f"found in {row['key_source']}"
    return f"missing: set {row['key_variable']}" if not row["account"] else "missing"


def _wrapped(words: list[str]) -> str:
    import textwrap

    names = ", ".join(word.replace("_", " ") for word in words)
    return "\n".join(textwrap.wrap(names, 66, break_on_hyphens=False))
