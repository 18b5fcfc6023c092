"""From words of the command line to values. Pure; every fault is an InvalidSpec with the property's path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_atlas.errors import Failure, InvalidSpec

__all__ = ["as_json", "duration_s", "environment", "given", "mounts", "options"]

_UNITS: Mapping[str, float] = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def duration_s(text: str | None, path: str) -> float | None:
    """Seconds from `90`, `90s`, `15m`, `2h` or `1d`."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip().lower())
    if not found:
        raise _refused(path, f"{text!r} is not a length of time", "write seconds, or 90s, 15m, 2h, 1d")
    return float(found[1]) * _UNITS[found[2]]


def environment(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`K=V`, or `K` alone to hand on this process's own value. Never shows a value."""
    result: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise _refused("env", "a variable without a name", "write NAME=VALUE")
        if name in result:
            raise _refused(f"env.{name}", "is given twice", "each variable once")
        if not equals and name not in environ:
            raise _refused(f"env.{name}", "is not set in this environment", f"set it, or write {name}=VALUE")
        result[name] = value if equals else environ[name]
    return result


def mounts(words: Sequence[str]) -> dict[str, str]:
    """`/path=ID` of each mounted volume."""
    result: dict[str, str] = {}
    for word in words:
        path, _, ident = word.rpartition("=")
        if not path or not ident:
            raise _refused("volumes", f"{word!r} does not say what to mount where", "write /path=VOLUME_ID")
        if path in result:
            raise _refused(f"volumes.{path}", "this path is given twice", "one volume for each path")
        result[path] = ident
    return result


def options(words: Sequence[str]) -> dict[str, Any]:
    """`K=V` where V is JSON when it can be read so, else text."""
    result: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise _refused("provider_options", f"{name!r} has no value", "write NAME=VALUE; VALUE may be JSON")
        if name in result:
            raise _refused(f"provider_options.{name}", "is given twice", "each option once")
        try:
            result[name] = json.loads(text)
        except ValueError:
            result[name] = text
    return result


def as_json(text: str, path: str, read: Callable[[str], str]) -> Any:
    """The value of a JSON text; `@FILE` and `-` (stdin) are handed to `read`."""
    source = "it"
    if text == "-" or text.startswith("@"):
        source = "standard input" if text == "-" else text[1:]
        text = read(text)
    try:
        return json.loads(text)
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        message = f"{source} is not JSON: {getattr(error, 'msg', error)}{where}"
        raise _refused(path, message, """write it as '{"name": "value"}', @FILE, or - for standard input""") from None


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given: without None and without empty lists and mappings."""
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != {}}


def _refused(path: str, message: str, hint: str) -> InvalidSpec:
    return InvalidSpec([Failure(path, message, hint)])
