"""The hot path: the touch that comes thousands of times a second, from who may, in its usual form, and is answered 200.

Whatever is not so in any point is left to the gate, which does it all again and says what is wrong. So nothing here
refuses, and whatever is let in here is let in by the same comparisons as there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from pulumi_atlas.runtime._touching import touched_now
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.body import Receive
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.runtime.http.origins import Hosts
from pulumi_atlas.runtime.http.roles import Role
from pulumi_atlas.runtime.http.touch import touched
from pulumi_atlas.runtime.ledger import Live

__all__ = ["CommonTouch"]

_FOLDER, _VERB = "/v1/sessions/", "/touch"
_JSON = (b"content-type", b"application/json")
_BODY = re.compile(
    rb'\{"source": ?"([a-z0-9_-]{1,32})"(?:, ?"idle_s": ?([0-9]{1,7}(?:\.[0-9]{1,6})?))?(?:, ?"count": ?([1-9][0-9]{0,9}))?\}'
).fullmatch


class CommonTouch:
    """`roles`: those that may touch. `safe`: headers of each answer."""

    def __init__(
        self,
        companion: Companion,
        keys: KnownKeys,
        hosts: Hosts,
        *,
        roles: frozenset[Role],
        safe: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self._keys, self._hosts, self._metrics = keys, hosts, companion.metrics
        self._ledger, self._live = companion.ledger, companion.ledger.live
        self._counted = dict.fromkeys(companion.settings.touch_sources, 0)  # since `tell`
        assert {"session", "guard"} <= roles, "a session's own keys touch it"
        self._roles, self._safe = roles, safe

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Callable[[Any], Awaitable[None]]
    ) -> Receive | None:
        """None: it is answered. Else the gate goes on with the `receive` that is returned."""
        path: str = scope["path"]
        live = self._live.get(path[len(_FOLDER) : -len(_VERB)])
        if live is None or scope["query_string"] or not path.startswith(_FOLDER):
            return receive
        length = self._let_in(live, scope["headers"])
        if length is None:
            return receive
        asked: tuple[str, float, int] | None = ("client", 0.0, 1)
        message = None
        if length:
            message = await receive()
            asked = None if message.get("more_body") else _read(message.get("body", b""))
        if asked is None or asked[0] not in self._counted:
            return receive if message is None else _Again(message, receive)
        now, (source, idle_s, count) = self._ledger.moment(), asked
        if not touched_now(self._ledger, live, source, now, counts=True, idle_s=idle_s, count=count):
            return receive if message is None else _Again(message, receive)
        self._counted[source] += count
        body = touched(live, now)
        headers = [_JSON, (b"content-length", b"%d" % len(body)), *self._safe]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return None

    def tell(self) -> None:
        """Bring the figures up to date; a counter for each touch would take longer than the touch."""
        for source, count in self._counted.items():
            if count:
                self._metrics.touch(source, count)
            self._counted[source] = 0

    def _let_in(self, live: Live, headers: Sequence[tuple[bytes, bytes]]) -> int | None:
        """The length of its body, when it is a common touch of somebody who may; else None."""
        found = dict(headers)
        if len(found) != len(headers) or b"origin" in found or b"transfer-encoding" in found:
            return None
        host, authorization = found.get(b"host"), found.get(b"authorization")
        if host is None or authorization is None or not self._hosts.allow(host) or not self._knows(live, authorization):
            return None
        length = found.get(b"content-length", b"0")
        if length == b"0":
            return 0
        usual = found.get(b"content-type") == b"application/json" and len(length) <= 3 and length.isdigit()
        return int(length) if usual else None

    def _knows(self, live: Live, authorization: bytes) -> bool:
        if authorization[:7] != b"Bearer ":
            return False
        presented = hashlib.sha256(authorization[7:]).hexdigest()
        own = hmac.compare_digest(presented, live.touch_hash) | hmac.compare_digest(presented, live.guard_hash)
        if own:
            return True
        caller = self._keys.at_hand(presented)
        return caller is not None and caller.role in self._roles


def _read(body: bytes) -> tuple[str, float, int] | None:
    """What it says, in the form that our clients write; None for any other, which the gate reads."""
    found = _BODY(body)
    if found is None:
        return None
    source, idle_s, count = found.groups()
    return source.decode(), float(idle_s or 0), int(count or 1)


class _Again:
    """A `receive` that gives a message that was received already, and then what comes."""

    __slots__ = ("_message", "_receive")

    def __init__(self, message: MutableMapping[str, Any], receive: Receive) -> None:
        self._message: MutableMapping[str, Any] | None = message
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        message, self._message = self._message, None
        return message if message is not None else await self._receive()
