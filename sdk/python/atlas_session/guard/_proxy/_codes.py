"""How one leg of a WebSocket ended, said to the other. Pure.

A visitor's close code reaches the upstream and the upstream's the visitor, with its reason. Some codes exist only in
programs and are never sent: 1005 (closed without a code) becomes 1000; a visitor that vanished without closing is told
by cutting the upstream's connection (it sees 1006), and an upstream that vanished by 1014, bad gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["NO_CODE", "Close", "for_upstream", "for_visitor"]

NO_CODE = 1005
_NORMAL = 1000
_TOO_BIG = 1009
_BAD_GATEWAY = 1014
_TAKEN = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class Close(NamedTuple):
    """What a close frame says."""

    code: int
    reason: str = ""


def for_upstream(message: Mapping[str, Any]) -> Close | None:
    """From ASGI's ``websocket.disconnect``. None: cut the connection, the visitor closed nothing."""
    code = message.get("code") or NO_CODE
    if code == NO_CODE and "reason" in message:  # uvicorn says the same code for a connection that broke, less a reason
        return Close(_NORMAL)
    return Close(code, message.get("reason") or "") if _may_be_sent(code) else None


def for_visitor(received: Close | None, sent: Close | None) -> Close:
    """From the upstream's close frame, if one came, and ours to it, if one went first."""
    if sent is not None and sent.code == _TOO_BIG and (received is None or received.code == NO_CODE):
        return Close(_TOO_BIG, "message too big")
    if received is not None:
        return received if _may_be_sent(received.code) else Close(_NORMAL)
    return Close(_BAD_GATEWAY, "the upstream ended")


def _may_be_sent(code: int) -> bool:
    return code in _TAKEN or 3000 <= code < 5000
