"""What the guard itself answers, and what it adds to the application's answers."""

from __future__ import annotations

from collections.abc import Iterable

from atlas_session.guard._cors import preflight_headers, with_cors
from atlas_session.guard._decide import Admitted, Answered, Refused
from atlas_session.guard._facts import Facts
from atlas_session.guard._settings import GuardSettings

__all__ = ["Pairs", "added_only", "adds_nothing", "answer", "application_headers"]

Pairs = list[tuple[str, str]]

_NO_REFERRER = [(b"referrer-policy", b"no-referrer")]
_SIGNED = [*_NO_REFERRER, (b"cache-control", b"private")]

#: All that a refused visitor reads, whatever the cause.
_BODY = b"access denied\n"


def answer(
    verdict: Refused | Answered, facts: Facts, settings: GuardSettings, *, healthy: bool = True
) -> tuple[int, Pairs, bytes]:
    """Status, headers and body of the guard's own answer; the body is empty for HEAD."""
    if isinstance(verdict, Answered) and verdict.what == "preflight":
        return _preflight(facts, allowed=verdict.allowed)
    if isinstance(verdict, Refused):
        status, body = verdict.status, _BODY
        challenge = [("WWW-Authenticate", verdict.challenge)] if verdict.challenge else []
    else:
        status, body, challenge = (200, b"ok\n", []) if healthy else (503, b"unavailable\n", [])
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),  # or a page of anywhere could load it as a script
        *challenge,
    ]
    return status, with_cors(headers, facts.only("origin"), settings.origins), b"" if facts.method == "HEAD" else body


def _preflight(facts: Facts, *, allowed: bool) -> tuple[int, Pairs, bytes]:
    headers = preflight_headers(facts, allowed=allowed)
    if allowed:
        return 204, headers, b""
    plain = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_BODY)))]
    return 403, [*plain, ("Cache-Control", "no-store"), *headers], _BODY


def adds_nothing(admitted: Admitted, settings: GuardSettings) -> bool:
    """Whether the application's answer goes out as it is."""
    return not settings.origins and not admitted.is_signed


def added_only(
    given: Iterable[tuple[bytes, bytes]], admitted: Admitted, settings: GuardSettings
) -> list[tuple[bytes, bytes]] | None:
    """As `application_headers`, for nearly every answer: what comes after its own headers. None when that is not all."""
    names = [name.lower() for name, _ in given]
    if settings.origins or not admitted.is_signed or b"referrer-policy" in names:
        return None
    return _NO_REFERRER if b"cache-control" in names else _SIGNED


def application_headers(
    given: Iterable[tuple[str, str]], admitted: Admitted, facts: Facts, settings: GuardSettings
) -> Pairs:
    """The application's headers and what the guard adds: a signed URL must not travel on, in a ``Referer`` or a shared cache."""
    headers = with_cors(given, facts.only("origin"), settings.origins)
    if admitted.is_signed:
        names = [name.lower() for name, _ in headers]
        if "referrer-policy" in names:
            headers = [pair for pair in headers if pair[0].lower() != "referrer-policy"]
        headers.append(("Referrer-Policy", "no-referrer"))
        if "cache-control" not in names:
            headers.append(("Cache-Control", "private"))
    return headers
