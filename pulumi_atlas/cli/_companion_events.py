"""A companion's events: its stream of server-sent events, read, followed, and taken up again where it broke off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pulumi_atlas.cli._companion import Companion
from pulumi_atlas.errors import AtlasError, TransportError

__all__ = ["follow", "kept", "parsed"]

#: Seconds between attempts while the companion does not answer, so that a restart of it is waited for.
PAUSE_S = 2.0


def follow(
    companion: Companion,
    path: str,
    *,
    after: str,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Events behind the number `after`, for ever, or until the stream of a session that has ended ends.

    A stream that breaks off is taken up where it broke off; `say` is told. Raises what the companion refuses with.
    """
    last, heard = after, False
    while True:
        try:
            with companion.stream(path, after=last) as lines:
                for event in parsed(lines):
                    heard = True
                    last = event["id"] or last
                    yield event
            return
        except TransportError as error:
            if not heard and error.status is None:
                raise
            say(f"{error.message}; it is asked again")
            pause(PAUSE_S)
        except AtlasError as error:
            if error.status == 410:  # nothing is left behind the last one
                return
            raise


def kept(companion: Companion, ident: str | None, *, last: int) -> tuple[str, list[dict[str, Any]]]:
    """The newest number that there is, and the kept events up to it: of one session all, else the `last` ones."""
    with companion.stream("/v1/events", after=None) as lines:
        newest = _first_number(lines)
    if not newest:
        return "0", []
    first = 0 if ident is not None else max(0, newest - last)
    rows: list[dict[str, Any]] = []
    if first == newest:
        return str(newest), rows
    with companion.stream("/v1/events", after=str(first)) as lines:
        for event in parsed(lines):
            if ident is None or (isinstance(event["data"], dict) and event["data"].get("id") == ident):
                rows.append(event)
            if event["id"].isdigit() and int(event["id"]) >= newest:
                break
    return str(newest), rows


def _first_number(lines: Iterable[str]) -> int:
    """A stream begins with the number that it is at."""
    for line in lines:
        name, _, value = line.partition(":")
        if name == "id" and value.strip().isdigit():
            return int(value)
    return 0


def parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """`{"id", "event", "data"}` of each event; comments and unfinished ones are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield {
                    "id": fields.get("id", ""),
                    "event": fields.get("event", "message"),
                    "data": _value(fields["data"]),
                }
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in fields:
            fields["data"] += f"\n{value}"
        elif name in ("id", "event", "data"):
            fields[name] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
