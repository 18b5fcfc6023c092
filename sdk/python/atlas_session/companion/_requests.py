"""The requests of a companion client, as values. Nothing here is sent, and none holds a key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

__all__ = [
    "Request",
    "close_session",
    "events",
    "extend",
    "get_session",
    "list_sessions",
    "open_session",
    "pause",
    "resume",
    "rotate",
    "sign_url",
    "touch",
]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SOURCE = re.compile(r"[a-z0-9_-]{1,32}")
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")

#: The longest body that is sent, bytes; and the longest and the usual wait for a session to become ready, seconds.
_MAX_BODY = 1 << 20
_MAX_WAIT_S, _WAIT_S = 300.0, 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path`: below the base URL, with its query. `safe`: sending it twice does no more than sending it once.

    `held_s`: for how many seconds it asks the companion to hold its answer back.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    safe: bool = True
    session_id: str | None = None
    held_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


def open_session(
    template: str | None,
    spec: Mapping[str, Any] | None,
    owner: str | None,
    idempotency_key: str,
    *,
    lease: Mapping[str, Any] | None = None,
    wait: str | None = None,
    timeout_s: float | None = None,
) -> Request:
    """`lease`: further fields of the body; those that are None are left out."""
    if (template is None) == (spec is None):
        raise ValueError("give either template or spec")
    if not isinstance(idempotency_key, str) or _IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None:
        raise ValueError("an idempotency key is printable ASCII without spaces, 1 to 255 characters")
    fields = {"template": template, "spec": None if spec is None else dict(spec), "owner": owner, **(lease or {})}
    query, held_s = _wait(wait, timeout_s)
    made = _post(f"/v1/sessions{query}", fields, headers=(("Idempotency-Key", idempotency_key),), safe=True)
    return replace(made, held_s=held_s)


def get_session(session_id: str, wait: str | None = None, timeout_s: float | None = None) -> Request:
    query, held_s = _wait(wait, timeout_s)
    return Request("GET", _path(session_id) + query, session_id=session_id, held_s=held_s)


def list_sessions(owner: str | None, status: str | None, cursor: str | None) -> Request:
    wanted = {"owner": owner, "status": status, "cursor": cursor}
    query = urlencode({name: value for name, value in wanted.items() if value is not None}, quote_via=quote, safe="")
    return Request("GET", f"/v1/sessions?{query}" if query else "/v1/sessions")


def touch(session_id: str, source: str, idle_s: float, count: int) -> Request:
    if not isinstance(source, str) or _SOURCE.fullmatch(source) is None:
        raise ValueError("a source is 1 to 32 small letters, digits, dashes or underscores")
    if not (math.isfinite(idle_s) and idle_s >= 0):
        raise ValueError("idle_s is seconds, 0 or more")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < 2**53:
        raise ValueError("count is a whole number from 1")
    fields = {"source": source, "idle_s": round(float(idle_s), 3), "count": count}
    return _post(_path(session_id, "touch"), fields, safe=True, session_id=session_id)


def extend(session_id: str, seconds: int) -> Request:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds < 2**31:
        raise ValueError("seconds is a whole number from 1")
    return _post(_path(session_id, "extend"), {"seconds": seconds}, session_id=session_id)


def pause(session_id: str) -> Request:
    return Request("POST", _path(session_id, "pause"), safe=False, session_id=session_id)


def resume(session_id: str) -> Request:
    return Request("POST", _path(session_id, "resume"), safe=False, session_id=session_id)


def rotate(session_id: str) -> Request:
    return Request("POST", _path(session_id, "rotate"), safe=False, session_id=session_id)


def sign_url(session_id: str, fields: Mapping[str, Any]) -> Request:
    """`fields`: of the body; those that are None are left out. Signing twice gives two URLs, which is no harm."""
    if (fields.get("path") is None) == (fields.get("url") is None):
        raise ValueError("give either path or url")
    return _post(_path(session_id, "signed-urls"), fields, safe=True, session_id=session_id)


def close_session(session_id: str) -> Request:
    return Request("DELETE", _path(session_id), session_id=session_id)


def events(session_id: str, last_event_id: str | None) -> Request:
    headers: tuple[tuple[str, str], ...] = (("Accept", "text/event-stream"), ("Cache-Control", "no-store"))
    if last_event_id:
        if any(char in last_event_id for char in "\0\r\n"):
            raise ValueError("an event's id holds no NUL and no line break")
        headers += (("Last-Event-ID", last_event_id),)
    return Request("GET", _path(session_id, "events"), headers=headers, session_id=session_id)


def _path(session_id: str, verb: str = "") -> str:
    if not isinstance(session_id, str) or _ID.fullmatch(session_id) is None:
        raise ValueError("a session's id is 1 to 64 letters, digits, dashes or underscores")
    return f"/v1/sessions/{session_id}/{verb}" if verb else f"/v1/sessions/{session_id}"


def _wait(wait: str | None, timeout_s: float | None) -> tuple[str, float]:
    """The query that asks to wait, and for how many seconds."""
    if wait is None:
        if timeout_s is not None:
            raise ValueError('timeout_s is for wait="ready"')
        return "", 0.0
    seconds = _WAIT_S if timeout_s is None else timeout_s
    if wait != "ready":
        raise ValueError('wait is "ready" or None')
    if not 0 < seconds <= _MAX_WAIT_S:
        raise ValueError(f"timeout_s is seconds, more than 0 and up to {_MAX_WAIT_S:g}")
    return f"?wait=ready&timeout_s={seconds:g}", float(seconds)


def _post(
    path: str,
    fields: Mapping[str, Any],
    *,
    headers: tuple[tuple[str, str], ...] = (),
    safe: bool = False,
    session_id: str | None = None,
) -> Request:
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        body = json.dumps(present, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ValueError("this cannot be written as JSON") from None
    if len(body) > _MAX_BODY:
        raise ValueError(f"the request has {len(body):,} bytes; {_MAX_BODY:,} are the most")
    return Request("POST", path, body, (("Content-Type", "application/json"), *headers), safe, session_id)
