"""A request's body: read as a whole, bounded in size and time, and JSON in one spelling."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

from pulumi_atlas.runtime.http.problem import Refusal

__all__ = ["Receive", "digest", "parse", "read", "replayed", "too_large"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: How often arrays and objects may be nested: more than any request needs.
_DEPTH = 64


async def read(receive: Receive, *, most: int, within_s: float) -> bytes:
    """All of it. Raises Refusal: 413, 408, and 400 when the client left."""
    pieces: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(within_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "the client left before its body was there", close=True)
                pieces.append(message.get("body", b""))
                size, more = size + len(pieces[-1]), bool(message.get("more_body"))
                if size > most:
                    raise too_large(most)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {within_s:g} s", slug="slow", close=True) from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_large(most: int) -> Refusal:
    """413. The rest of the body is not read."""
    return Refusal(413, f"the body has more than {most:,} bytes", slug="too-large", close=True)


def parse(body: bytes) -> Any:
    """What the JSON says. Raises Refusal (400) for what is none: NaN, twice the same name, half a character are no JSON here."""
    try:
        told = json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_object)
        if _is_deeper(told, _DEPTH):
            raise RecursionError  # whatever reads it next may give up sooner than the parser
        json.dumps(told, ensure_ascii=False).encode("utf-8")  # a lone surrogate cannot be written
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else _why(error)
        raise Refusal(400, f"the body is not JSON: {why}", slug="not-json") from None
    return told


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, however it was spelled."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, and then whatever comes."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether arrays and objects are nested more than `depth` times."""
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(one, depth - 1) for one in inside)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a name twice")
    return made


def _why(error: ValueError) -> str:
    """Without what was sent: that may hold a secret."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    return "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)[:100]
