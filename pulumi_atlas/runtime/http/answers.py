"""JSON answers, and what routes have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response

from pulumi_atlas.runtime.http.bounds import MAX_ANSWER
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.problem import MEDIA_TYPE, Refusal
from pulumi_atlas.runtime.http.shapes import Problem

__all__ = ["answer", "caller_of", "encoded", "fitting", "problems"]


def encoded(value: Any) -> bytes:
    """The value as JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The value, as `application/json`."""
    return Response(encoded(value), status, dict(headers or {}), "application/json")


def fitting(rows: Sequence[Mapping[str, Any]], most: int = MAX_ANSWER - 4096) -> tuple[list[Mapping[str, Any]], int]:
    """As many rows as one answer holds, and how many were left out."""
    size = 0
    for count, row in enumerate(rows):
        size += len(encoded(row)) + 1
        if size > most:
            return list(rows[:count]), len(rows) - count
    return list(rows), 0


def caller_of(request: Request) -> Caller:
    """Who asks, as the gate found out. Without the gate, nobody may."""
    found = request.scope.get("atlas.caller")
    if not isinstance(found, Caller):
        raise Refusal(401, "no such key", slug="unknown-key")
    return found


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the published document: with which statuses a route refuses, beside those of every route."""
    said = {"model": Problem, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    every = (400, 401, 403, 421, 422, 500, 503)
    return {status: {**said, "description": _SAYS[status]} for status in sorted({*every, *statuses})}


_SAYS = {
    400: "Not a request that can be understood",
    401: "The key is unknown",
    402: "The owner's budget is spent",
    403: "The key, or the page that asks, may not do this",
    404: "There is no such thing",
    408: "The body did not arrive in time",
    409: "Not in this state, or another body under the same Idempotency-Key",
    410: "The session has ended for good",
    413: "The body is too large",
    415: "A body is application/json",
    421: "The request names another host",
    422: "Not with these values",
    429: "A limit is reached; nothing was done",
    500: "The companion failed",
    502: "A provider failed",
    503: "Not now",
}
