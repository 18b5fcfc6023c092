"""Errors as `application/problem+json` (RFC 9457): what each is answered with. No text here holds a secret."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from atlas_session.errors import CannotSign, Malformed
from pulumi_atlas.errors import (
    AtlasError,
    ConfigError,
    Conflict,
    Failure,
    Forbidden,
    InsufficientFunds,
    InvalidSpec,
    NoCapacity,
    NotFound,
    RateLimited,
    TransportError,
    Unsupported,
)
from pulumi_atlas.runtime.ledger import SessionGone
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["MEDIA_TYPE", "Refusal", "refusal_of", "rendered"]

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger("pulumi_atlas.runtime.http")
_MAX_DETAIL = 1000
_MAX_ERRORS = 50
_RETRY_S = 5


class Refusal(Exception):
    """A request that is not done, and how that is said. `slug` names the kind for programs; "" where the status says all.

    `errors`: one object for each thing that is wrong with the input. `retry_after_s`: 429 and 503 always say when.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        slug: str = "",
        hint: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        retry_after_s: float | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.slug, self.hint = status, detail, slug, hint
        self.errors, self.close = tuple(errors), close
        if retry_after_s is None and status in (429, 503):
            retry_after_s = _RETRY_S
        self.retry_after_s = retry_after_s
        self.headers = tuple(headers)


def rendered(refusal: Refusal, instance: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body. `instance`: the path that was asked for."""
    told: dict[str, Any] = {
        "type": f"urn:atlas:problem:{refusal.slug}" if refusal.slug else "about:blank",
        "title": _title(refusal),
        "status": refusal.status,
        "detail": _cut(refusal.detail),
        "instance": _cut(instance),
    }
    if refusal.hint:
        told["hint"] = _cut(refusal.hint)
    if refusal.errors:
        told["errors"] = [{name: _cut(text) for name, text in one.items()} for one in refusal.errors[:_MAX_ERRORS]]
    body = json.dumps(told, separators=(",", ":")).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), *refusal.headers]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(refusal.retry_after_s))))
    if refusal.close:
        headers.append((b"connection", b"close"))
    return refusal.status, headers, body


def refusal_of(error: Exception) -> Refusal:
    """What an exception is answered with. What nobody foresaw is logged, and says nothing of itself."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, AtlasError):
        return _of_atlas(error)
    if isinstance(error, RequestValidationError):
        return Refusal(422, "the request is not as it should be", slug="invalid", errors=_validation(error.errors()))
    if isinstance(error, CannotSign):
        return Refusal(422, str(error), slug="invalid")
    if isinstance(error, Malformed):
        return Refusal(422, f"the URL cannot be signed: {error.detail}", slug="invalid")
    if isinstance(error, HTTPException):
        return _of_framework(error)
    _log.error("a request failed in a way that was not foreseen", exc_info=error)
    return Refusal(500, "the companion failed; its log says why")


def _of_atlas(error: AtlasError) -> Refusal:
    if isinstance(error, StoreUnavailable):
        return Refusal(503, "the store cannot be used now; nothing was changed", slug="store-unavailable")
    if error.provider is not None and not isinstance(error, InvalidSpec | Unsupported | Conflict):
        return _of_provider(error)
    if isinstance(error, InvalidSpec):
        errors = [_failure(one) for one in error.failures]
        return Refusal(422, error.message, slug="invalid", errors=errors, hint=error.hint)
    status, slug = next(((status, slug) for kind, status, slug in _KINDS if isinstance(error, kind)), (500, ""))
    if status == 500:
        _log.error("a request failed: %s", error, exc_info=error)
        return Refusal(500, "the companion failed; its log says why")
    return Refusal(status, error.message, slug=slug, hint=error.hint, retry_after_s=error.retry_after)


_KINDS: tuple[tuple[type[AtlasError], int, str], ...] = (
    (SessionGone, 410, "session-gone"),
    (Conflict, 409, "conflict"),
    (NotFound, 404, "not-found"),
    (Forbidden, 403, "forbidden"),
    (RateLimited, 429, "limit"),
    (InsufficientFunds, 402, "funds"),
    (Unsupported, 422, "unsupported"),
    (ConfigError, 422, "not-configured"),
    (NoCapacity, 503, "no-capacity"),
    (TransportError, 503, "unreachable"),
)


def _of_provider(error: AtlasError) -> Refusal:
    """A cloud's failure is none of the caller: its "not found" or "unauthorized" must not be taken for ours."""
    passing = isinstance(error, RateLimited | TransportError | NoCapacity)
    status, slug = (503, "provider-busy") if passing else (502, "provider")
    return Refusal(status, f"{error.provider}: {error.message}", slug=slug, retry_after_s=error.retry_after)


def _of_framework(error: HTTPException) -> Refusal:
    headers = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    return Refusal(error.status_code, str(error.detail), headers=headers)


def _failure(one: Failure) -> dict[str, str]:
    return {"path": one.path, "message": one.message} | ({"hint": one.hint} if one.hint else {})


def _validation(rows: Sequence[Any]) -> list[dict[str, str]]:
    """What pydantic found, without the values that were given: those may be secrets."""
    return [_row(row) for row in rows]


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    where, *loc = row.get("loc") or ("",)
    names = [str(name) for name in loc]
    path = ".".join(names) if where == "body" else f"{where}.{'.'.join(names)}"
    found = {"path": path, "message": str(row.get("msg", "")).removeprefix("Value error, ")}
    if where == "body":
        found["pointer"] = "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in names)
    return found


def _title(refusal: Refusal) -> str:
    return HTTPStatus(refusal.status).phrase


def _cut(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return printable if len(printable) <= _MAX_DETAIL else printable[: _MAX_DETAIL - 1] + "…"
