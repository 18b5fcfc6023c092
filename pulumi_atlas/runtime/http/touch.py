"""A touch, read and answered without a framework."""

from __future__ import annotations

import math
import re
from typing import Any

from pulumi_atlas.errors import Failure, InvalidSpec
from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.rules.sessions.nearest import nearest
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http import body as bodies
from pulumi_atlas.runtime.http.body import Receive
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.head import Head
from pulumi_atlas.runtime.http.problem import Refusal
from pulumi_atlas.runtime.ledger import Live

__all__ = ["Touch", "touched"]

_SOURCE = re.compile(r"[a-z0-9_-]{1,32}")
_KNOWN = frozenset({"source", "idle_s", "count"})
_MOST_BYTES = 4096
_MOST_IDLE_S = 366 * 86_400.0
_JSON = (b"content-type", b"application/json")


class Touch:
    """``POST /v1/sessions/{id}/touch`` for whoever may. Answers from memory alone; the store may be full."""

    def __init__(self, companion: Companion, bounds: Bounds) -> None:
        self._companion, self._bounds, self._metrics = companion, bounds, companion.metrics
        self._counts = frozenset(companion.settings.touch_sources)

    async def __call__(self, session_id: str, head: Head, receive: Receive) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of the 200. Raises Refusal, InvalidSpec, NotFound, SessionGone."""
        source, idle_s, count = await self._asked(head, receive) if head.has_body else ("client", 0.0, 1)
        live = await self._companion.touch(session_id, source, idle_s=idle_s, count=count)
        if source in self._counts:
            self._metrics.touch(source, count)
        else:
            self._metrics.touch_ignored()
        body = touched(live, self._companion.ledger.moment())
        return [_JSON, (b"content-length", b"%d" % len(body))], body

    async def _asked(self, head: Head, receive: Receive) -> tuple[str, float, int]:
        if not head.is_json:
            raise Refusal(415, "a body is application/json", slug="not-json-type")
        if head.length > _MOST_BYTES:
            raise bodies.too_large(_MOST_BYTES)
        body = await bodies.read(receive, most=_MOST_BYTES, within_s=self._bounds.body_s)
        told = bodies.parse(body) if body else None
        return _checked({} if told is None else told)


def touched(live: Live, now: Moment) -> bytes:
    """JSON of the session after a touch, as far as memory knows it: SPECIFICATION.md of atlas-session, section 9.

    Put together by hand: an encoder takes longer than all the rest of a touch.
    """
    offset = now.wall - now.mono
    ends = nearest(live, now)
    if ends is None:
        end = '"remaining_s":null,"deadline":null,"deadline_kind":null,"warning_at":null'
    else:
        kind, at, warn_at = ends
        end = (
            f'"remaining_s":{max(0.0, at - now.mono):.3f},"deadline":{at + offset:.3f},"deadline_kind":"{kind}",'
            f'"warning_at":{"null" if warn_at is None else f"{warn_at + offset:.3f}"}'
        )
    expires = "null" if live.expires_at is None else repr(live.expires_at)
    return (
        f'{{"id":"{live.id}","status":"{live.state}","state":"{live.state}","generation":{live.generation},{end},'
        f'"expires_at":{expires},"now":{now.wall:.3f}}}'
    ).encode()


def _checked(told: Any) -> tuple[str, float, int]:
    if not isinstance(told, dict):
        raise InvalidSpec([Failure("", "a touch is a JSON object")])
    source, idle_s, count = told.get("source", "client"), told.get("idle_s", 0.0), told.get("count", 1)
    failures = [Failure(name, "is not known here") for name in told if name not in _KNOWN]
    if not isinstance(source, str) or _SOURCE.fullmatch(source) is None:
        failures.append(Failure("source", "has 1 to 32 small letters, digits, dashes or underscores"))
    if not _is_number(idle_s) or idle_s < 0:
        failures.append(Failure("idle_s", "is seconds, 0 or more"))
    if not _is_number(count) or count != int(count) or not 1 <= count < 2**53:
        failures.append(Failure("count", "is a whole number from 1"))
    if failures:
        raise InvalidSpec(failures)
    return source, min(float(idle_s), _MOST_IDLE_S), int(count)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
