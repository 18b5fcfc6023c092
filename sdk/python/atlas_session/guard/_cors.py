"""Cross-origin rules: configured origins only. The guard answers preflights and owns ``Access-Control-Allow-Origin``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from atlas_session.guard._facts import Facts

__all__ = ["allow_headers", "is_allowed", "is_preflight", "preflight_headers", "with_cors"]

Pairs = list[tuple[str, str]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_EXPOSED = "Content-Range, Accept-Ranges, Retry-After"
#: What an application may not say beside us. Credentials are never allowed: ours are no cookies.
_OWNED = frozenset({"access-control-allow-origin", "access-control-allow-credentials"})
_MAX_HEADERS = 64


def is_preflight(facts: Facts) -> bool:
    """A browser's question whether a page may; it holds no credential and does nothing."""
    return (
        facts.method == "OPTIONS"
        and not facts.websocket
        and bool(facts.all("origin"))
        and bool(facts.all("access-control-request-method"))
    )


def is_allowed(origin: str | None, origins: Collection[str]) -> bool:
    """Origins are compared as texts, as browsers write them. ``null`` counts only when it is listed."""
    return origin is not None and (origin in origins or ("*" in origins and origin != "null"))


def preflight_headers(facts: Facts, *, allowed: bool) -> Pairs:
    """Of the answer to a preflight. What is asked for is repeated, where it has the form of a method or a header's name."""
    vary = ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
    method = facts.only("access-control-request-method")
    origin = facts.only("origin")
    if not allowed or origin is None or method is None or _TOKEN.fullmatch(method) is None:
        return [vary]
    headers = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", method),
        ("Access-Control-Max-Age", "600"),
        vary,
    ]
    names = _requested(facts.all("access-control-request-headers"))
    return [*headers, ("Access-Control-Allow-Headers", ", ".join(names))] if names else headers


def _requested(lines: Iterable[str]) -> list[str]:
    names = [name.strip(" \t") for name in ",".join(lines).split(",")[:_MAX_HEADERS]]
    return [name for name in names if _TOKEN.fullmatch(name)]


def allow_headers(origin: str | None, origins: Collection[str]) -> Pairs:
    """What an answer to a page of that origin says. `origins` must not be empty."""
    vary = ("Vary", "Origin")
    if origin is not None and not is_allowed(origin, origins):
        return [vary]
    allowed = "*" if "*" in origins else origin
    if allowed is None:
        return [vary]
    return [("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", _EXPOSED), vary]


def with_cors(headers: Iterable[tuple[str, str]], origin: str | None, origins: Collection[str]) -> Pairs:
    """The application's headers with ours in the place of its own. Without configured origins they stay as they are."""
    if not origins:
        return list(headers)
    kept = [pair for pair in headers if pair[0].lower() not in _OWNED]
    return [*kept, *allow_headers(origin, origins)]
