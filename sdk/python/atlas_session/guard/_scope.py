"""An ASGI scope as facts, and the scope without its credential. Changes are made in place: servers log from the same scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote, unquote

from atlas_session.guard._credentials import without_bearers
from atlas_session.guard._decide import Admitted
from atlas_session.guard._facts import LOOKED_AT, Facts
from atlas_session.guard._stripping import STRIPPED, readable_path, spellings, stripped

__all__ = ["App", "Message", "Receive", "Scope", "Send", "admit", "bytes_of", "facts_of", "hide", "texts_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMES = {name.encode(): name for name in LOOKED_AT}
_STRIPPED = {spelling.encode(): name for name in STRIPPED for spelling in spellings(name)}
_PATH_SAFE = "/!$&'()*+,;=:@-._~"


def facts_of(scope: Scope) -> Facts:
    """What the decision rests on."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        known = _NAMES.get(name.lower())
        if known is not None:
            headers.setdefault(known, []).append(value.decode("latin-1"))
    websocket = scope["type"] == "websocket"
    client = scope.get("client")
    return Facts(
        method="GET" if websocket else scope["method"],
        path=_path(scope),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        headers=headers,
        scheme=scope.get("scheme") or ("ws" if websocket else "http"),
        peer=client[0] if client else None,
        websocket=websocket,
        protocols=_protocols(scope, headers) if websocket else (),
    )


def _path(scope: Scope) -> str:
    """As the visitor wrote it. Where that is not what the application would see, what it would see is judged."""
    path: str = scope["path"]
    raw = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    if raw and (raw == path if "%" not in raw else unquote(raw) == path):
        return raw
    return quote(path, _PATH_SAFE, errors="replace")


def _protocols(scope: Scope, headers: dict[str, list[str]]) -> tuple[str, ...]:
    """What is offered, by the server's account or by the header's: whichever holds more credentials."""
    told = tuple(map(str, scope.get("subprotocols") or ()))
    read = tuple([name.strip(" \t") for line in headers.get("sec-websocket-protocol", ()) for name in line.split(",")])
    return max(told, read, key=lambda names: len(names) - len(without_bearers(names)))


def admit(scope: Scope, admitted: Admitted, facts: Facts) -> None:
    """Shows the application path and query without the grant, and how the visitor came in."""
    if admitted.path is not None:
        scope["path"] = unquote(admitted.path)
        scope["raw_path"] = admitted.path.encode("ascii")
    if admitted.query != facts.query:
        scope["query_string"] = admitted.query.encode("latin-1")
    _strip(scope, bound=admitted.is_bound)
    scope["atlas"] = {"how": admitted.how, "grant": admitted.grant, "address": admitted.address}


def hide(scope: Scope, facts: Facts) -> None:
    """For a request that goes no further: the server may still log it."""
    path = readable_path(facts.path)
    if path != facts.path:
        scope["path"] = path
        scope["raw_path"] = path.encode("latin-1")
    scope["query_string"] = b""
    _strip(scope, bound=False)


def _strip(scope: Scope, *, bound: bool) -> None:
    kept, changed = [], False
    for pair in scope["headers"]:
        known = _STRIPPED.get(pair[0].lower())
        if known is not None:
            text = stripped(known, pair[1].decode("latin-1"), bound=bound)
            value = None if text is None else text.encode("latin-1")
            changed |= value != pair[1]
            if value is None:
                continue
            pair = (pair[0], value)
        kept.append(pair)
    if changed:
        scope["headers"] = kept
    protocols = scope.get("subprotocols")
    if protocols:
        scope["subprotocols"] = without_bearers(protocols)


def bytes_of(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them: names in lower case."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def texts_of(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
