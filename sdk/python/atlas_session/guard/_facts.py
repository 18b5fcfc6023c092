"""What a guard knows of one request, the same for ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["LOOKED_AT", "Facts"]

#: The headers that a decision rests on; nothing else is looked at.
LOOKED_AT = frozenset(
    {
        "access-control-request-headers",
        "access-control-request-method",
        "authorization",
        "host",
        "origin",
        "sec-websocket-protocol",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)


_NONE: Mapping[str, Sequence[str]] = MappingProxyType({})


class Facts(NamedTuple):
    """One request. `path` and `query` are as the visitor wrote them, percent-encoded; `peer` is the direct peer's address.

    `headers`: name in lower case → every value, in the order of arrival. `protocols`: WebSocket subprotocols on offer.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, Sequence[str]] = _NONE
    scheme: str = "http"
    peer: str | None = None
    websocket: bool = False
    protocols: tuple[str, ...] = ()

    def all(self, name: str) -> Sequence[str]:
        return self.headers.get(name, ())

    def only(self, name: str) -> str | None:
        """The header's value where it was sent exactly once."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None
