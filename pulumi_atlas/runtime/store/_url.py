"""Where a store is, from the address that was given on the command line."""

from __future__ import annotations

from pathlib import Path

from pulumi_atlas.errors import ConfigError

__all__ = ["path_of"]

_HINT = "write sqlite:///PATH, for example sqlite:///atlas.db beside you or sqlite:////var/lib/atlas/atlas.db"


def path_of(url: str) -> Path:
    """The database file of ``sqlite:///PATH``, absolute and without symbolic links. PATH is taken as it stands: no escapes.

    Raises ConfigError for any other address.
    """
    scheme, separator, rest = url.partition("://")
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        raise ConfigError(
            "a store in PostgreSQL is not supported yet: one companion keeps its sessions in SQLite", hint=_HINT
        )
    if not separator or scheme != "sqlite" or not rest.startswith("/"):
        raise ConfigError("the address of the store is not understood", hint=_HINT)
    name = rest[1:]
    if not name or name.endswith("/"):
        raise ConfigError("the address of the store names no file", hint=_HINT)
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigError("a store has to be a file: one in memory would forget pods that cost money", hint=_HINT)
    if "?" in name or "\0" in name:
        raise ConfigError("the address of the store takes no options", hint=_HINT)
    return Path(name).expanduser().resolve()
