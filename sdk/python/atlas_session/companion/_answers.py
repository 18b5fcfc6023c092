"""The companion's answers, read: a session, a page of them, the data of an event, or an error. Nothing here waits or sends."""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlas_session.companion._requests import Request
from atlas_session.companion.errors import (
    BadAnswer,
    Busy,
    CompanionError,
    NoSuchSession,
    NotAllowed,
    Refused,
    SessionEnded,
    Unreachable,
)
from atlas_session.companion.values import Event, Session

__all__ = ["Answer", "Page", "event", "page", "refusal", "retry_after_s", "session", "signed_url", "unreachable"]

_MAX_PROBLEM = 300
_TOKEN = re.compile(r"atlas_[A-Za-z0-9_-]{16,}")
_GATEWAY = frozenset({408, 502, 504})
_TEXTS = ("type", "title", "detail", "instance")
_BY_STATUS: Mapping[int, tuple[type[CompanionError], str]] = {
    401: (NotAllowed, "the companion does not know the key"),
    403: (NotAllowed, "the companion does not allow this with the key"),
    404: (NoSuchSession, "the companion knows no such session"),
    410: (SessionEnded, "the session has ended"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `headers`: names in lower case. The body may hold a token, so `repr` leaves it out."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list, and the cursor to the next, None behind the last."""

    sessions: tuple[Session, ...]
    next_cursor: str | None


def session(request: Request, answer: Answer) -> Session:
    """The session of a 200, 201 or 202. Raises BadAnswer."""
    found = _session(_json(request, answer))
    if found is None or request.session_id not in (None, found.id):
        raise _bad(request, answer, "no session, or another one")
    return found


def page(request: Request, answer: Answer) -> Page:
    """A page of sessions. Raises BadAnswer."""
    told = _json(request, answer)
    rows, cursor = (told.get("sessions"), told.get("next_cursor")) if isinstance(told, dict) else (None, None)
    sessions = [_session(row) for row in rows] if isinstance(rows, list) else [None]
    if None in sessions or not (cursor is None or (isinstance(cursor, str) and cursor)):
        raise _bad(request, answer, "no list of sessions")
    return Page(tuple(one for one in sessions if one is not None), cursor)


def signed_url(request: Request, answer: Answer) -> str:
    """The signed URL of a 200. Raises BadAnswer."""
    told = _json(request, answer)
    url = told.get("url") if isinstance(told, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "ws://", "wss://")):
        raise _bad(request, answer, "no URL")
    return url


def event(id: str, kind: str, data: str) -> tuple[Event, Session | None]:
    """The event, and the session that it tells of when it is one of those that do."""
    told = _loads(data)
    told = data if told is None and data.strip() != "null" else told
    return Event(id, kind, told), _session(told) if kind in ("status", "warning") else None


def refusal(request: Request, answer: Answer, *, key: str, now: float) -> CompanionError | None:
    """The error that an answer is, None for one that is none (2xx). `key` is kept out of it; `now`: unix seconds.

    What ends a session for its owner (401, 403, 404, 410) is believed from the companion only, which says it as
    `application/problem+json`; a gateway's own page with such a status is a BadAnswer.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    problem = _problem(answer, key)
    told = f": {problem['detail' if 'detail' in problem else 'title']}" if {"detail", "title"} & set(problem) else ""
    if status in (429, 503):
        busy = Busy(f"{request}: the companion is busy{told}", status=status, problem=problem)
        busy.retry_after_s = retry_after_s(answer.headers.get("retry-after"), now)
        return busy
    if status in _GATEWAY:
        return unreachable(f"{request}: a gateway got no answer from the companion{told}", status=status, sent=True)
    if status in _BY_STATUS and answer.media_type == "application/problem+json":
        kind, text = _BY_STATUS[status]
        if status == 404 and request.session_id is None:
            kind, text = Refused, "the companion knows no such thing"
        return kind(f"{request}: {text}{told}", status=status, problem=problem)
    if 400 <= status < 500 and status not in _BY_STATUS:
        return Refused(f"{request}: refused{told}", status=status, problem=problem)
    if status >= 500:
        return BadAnswer(f"{request}: the companion failed with {status}{told}", status=status, problem=problem)
    what = "a redirect, which is not followed" if 300 <= status < 400 else f"{status}, but not from a companion"
    return BadAnswer(f"{request}: {what}", status=status, hint="is this the companion's URL?")


def retry_after_s(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` asks for, as a number or a date. None without one, or when it makes no sense."""
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, at - now)


def unreachable(text: str, *, sent: bool, status: int | None = None, hint: str = "") -> Unreachable:
    """The error of a request that nobody answered."""
    error = Unreachable(text, status=status, hint=hint)
    error.sent = sent
    return error


def _json(request: Request, answer: Answer) -> Any:
    if answer.status not in (200, 201, 202) or answer.media_type != "application/json":
        raise _bad(request, answer, f"{answer.status} without JSON")
    told = _loads(answer.body)
    if told is None:
        raise _bad(request, answer, "not JSON")
    return told


def _bad(request: Request, answer: Answer, what: str) -> BadAnswer:
    return BadAnswer(f"{request}: {what}", status=answer.status, hint="is this the companion's URL?")


def _loads(text: bytes | str) -> Any:
    """What the JSON says; None for null, and for what is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None


def _session(told: Any) -> Session | None:
    """The session, or None when a field is missing or of the wrong kind. Fields that are not known are left out."""
    if not isinstance(told, dict):
        return None
    try:
        optional: dict[str, Any] = {name: _text(told[name]) for name in _TEXT_FIELDS if told.get(name) is not None}
        optional |= {name: _number(told[name]) for name in _NUMBER_FIELDS if told.get(name) is not None}
        return Session(
            id=_text(told["id"]),
            status=_text(told["status"]),
            generation=_count(told.get("generation", 0)),
            urls=_texts(told.get("urls")),
            labels=_texts(told.get("labels")),
            **optional,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


_TEXT_FIELDS = (
    *("owner", "template", "auth", "deadline_kind", "active_source", "cause", "reason", "token", "touch_token"),
)
_NUMBER_FIELDS = ("deadline", "remaining_s", "warning_at", "expires_at", "active_at", "cost", "now")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in (value or {}).items()}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("not a whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("too large") from None
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _problem(answer: Answer, key: str) -> dict[str, str]:
    """The texts of a problem document, free of keys and tokens, in one line each, and cut."""
    if answer.media_type not in ("application/problem+json", "application/json"):
        return {}
    told = _loads(answer.body)
    if not isinstance(told, dict):
        return {}
    return {name: _clean(told[name], key) for name in _TEXTS if isinstance(told.get(name), str)}


def _clean(text: str, key: str) -> str:
    text = _TOKEN.sub("[secret]", text.replace(key, "[secret]") if key else text)
    printable = "".join([char if char.isprintable() else " " for char in text])
    return printable if len(printable) <= _MAX_PROBLEM else printable[: _MAX_PROBLEM - 1] + "…"
