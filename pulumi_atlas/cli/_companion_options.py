"""Which companion a command is about, and with which key: options, then the environment, then this machine's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pulumi_atlas.cli import _runtime_place
from pulumi_atlas.cli._companion import Companion, checked
from pulumi_atlas.cli._session import Left, Stopped
from pulumi_atlas.errors import ConfigError, Unauthorized

__all__ = ["Key", "KeyFile", "Store", "Url", "asked"]

URL_VARIABLE, KEY_VARIABLE = "ATLAS_COMPANION_URL", "ATLAS_COMPANION_KEY"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"Where the companion is. Default: {URL_VARIABLE}, then this machine."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help=f"Others can see it in `ps`: rather set {KEY_VARIABLE}, or --key-file."),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help="A file that holds the key, and nothing else.")
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Take the admin key beside this store, on the same machine."),
]


@contextmanager
def asked(
    url: str | None,
    key: str | None,
    key_file: Path | None,
    store: str | None,
    *,
    left: Callable[[], Left] | None = None,
) -> Iterator[Companion]:
    """The companion that is meant. Within it a Ctrl-C ends the command with what `left` says.

    Raises ConfigError when the address or the key cannot be used, Unauthorized when there is no key.
    """
    place = checked(url or os.environ.get(URL_VARIABLE, "").strip() or _runtime_place.own_url())
    try:
        with Companion(place, _key(place, key, key_file, store)) as companion:
            yield companion
    except KeyboardInterrupt:
        raise Stopped(left() if left else Left("nothing was changed")) from None


def _key(url: str, key: str | None, key_file: Path | None, store: str | None) -> str:
    text = key
    if text is None and key_file is not None:
        text = _read(key_file)
    if text is None and store is None:
        text = os.environ.get(KEY_VARIABLE)
    if not (text or "").strip():
        text = _beside(url, store)
    return _well_formed((text or "").strip())


def _beside(url: str, store: str | None) -> str:
    """The admin key beside the store: only for a companion on this machine, since it would be shown to another one."""
    file = _runtime_place.admin_key_file(store or _runtime_place.default_store())
    if not _runtime_place.is_own(url):
        raise Unauthorized("there is no key for the companion", hint=_ways())
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f"start a companion here with `atlas runtime serve`, which makes {file}; or {_ways()}"
        raise Unauthorized("there is no key for the companion", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise Unauthorized(f"the admin key in {file} cannot be read: {why}", hint=_ways()) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"the key file {file} cannot be read: {why}", hint="check its name and permissions") from None


def _well_formed(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the key for the companion is none", hint="copy it again, and nothing but the key")
    return key


def _ways() -> str:
    return f"set {KEY_VARIABLE}, or name a file with --key-file; on its own machine also --store"
