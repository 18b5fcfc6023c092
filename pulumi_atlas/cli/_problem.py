"""From the companion's `application/problem+json` to one of our errors, and so to an exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulumi_atlas.errors import (
    AtlasError,
    Conflict,
    Failure,
    Forbidden,
    InsufficientFunds,
    InvalidSpec,
    NoCapacity,
    NotFound,
    ProviderFailure,
    RateLimited,
    TransportError,
    Unauthorized,
)

if TYPE_CHECKING:
    import httpx

__all__ = ["refusal"]

_TOKEN = re.compile(r"atlas_[A-Za-z0-9_-]{16,}")
_BY_STATUS: Mapping[int, type[AtlasError]] = {
    401: Unauthorized,
    402: InsufficientFunds,
    403: Forbidden,
    404: NotFound,
    405: ProviderFailure,
    409: Conflict,
    410: Conflict,
    429: RateLimited,
}
_HINTS: Mapping[int, str] = {
    401: "is it the key of this companion? `atlas runtime keys create --scope …` makes one",
    403: "`atlas runtime keys create --scope …` makes a key that may; inline specs and `local` need scope admin",
}


def refusal(answer: httpx.Response, key: str) -> AtlasError:
    """The error that an answer is. `key` is kept out of it."""
    status = answer.status_code
    problem = _problem(answer)
    if problem is None:
        message = f"{answer.request.url.copy_with(query=None)} answered {status}, but not as a companion does"
        return ProviderFailure(message, status=status, hint="is this the companion's address?")
    detail = _clean(problem.get("detail") or problem.get("title") or f"refused with {status}", key)
    hint = _clean(problem.get("hint") or _HINTS.get(status, ""), key)
    retry = _retry_after(answer)
    if status in (400, 413, 415, 422):
        return _invalid(problem, detail, hint, key)
    kind = _BY_STATUS.get(status) or _unavailable(status, str(problem.get("type", "")))
    if retry is not None and not hint:
        hint = f"try again in {retry:g} s"
    return kind(detail, status=status, hint=hint, retry_after=retry)


def _unavailable(status: int, kind: str) -> type[AtlasError]:
    if kind.endswith(":no-capacity"):
        return NoCapacity
    return TransportError if status in (503, 504) else ProviderFailure


def _invalid(problem: Mapping[str, Any], detail: str, hint: str, key: str) -> InvalidSpec:
    rows = problem.get("errors")
    failures = [
        Failure(*(_clean(row.get(name) or "", key) for name in ("path", "message", "hint")))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    ]
    return InvalidSpec(failures or [Failure("", detail, hint)])


def _problem(answer: httpx.Response) -> dict[str, Any] | None:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"\d{1,9}", text) else None


def _clean(text: Any, key: str) -> str:
    """Printable, cut, and without keys and tokens."""
    plain = _TOKEN.sub("[secret]", str(text).replace(key, "[secret]") if key else str(text))
    return "".join(char if char.isprintable() else " " for char in plain)[:1000]
