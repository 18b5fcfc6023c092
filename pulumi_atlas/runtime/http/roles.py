"""Who may do what: one table of routes, from which the gate takes its decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["PUBLIC", "ROUTES", "Role", "Route", "route_of"]

#: `session`: who holds a session's touch token. `guard`: who holds its guard key. Both only for that one session.
Role = Literal["admin", "backend", "read", "metrics", "session", "guard"]

#: Everybody, without a key.
PUBLIC: frozenset[Role] = frozenset()

_ADMIN: frozenset[Role] = frozenset({"admin"})
_USERS: frozenset[Role] = frozenset({"admin", "backend"})
_READERS: frozenset[Role] = frozenset({"admin", "backend", "read"})
_OPERATORS: frozenset[Role] = frozenset({"admin", "read"})


@dataclass(frozen=True, slots=True)
class Route:
    """A route: its template, who may use it (`PUBLIC`: everybody), the query it takes, and whether it takes a body."""

    method: str
    path: str
    roles: frozenset[Role]
    query: frozenset[str] = frozenset()
    body: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


_ONE = "/v1/sessions/{session_id}"
_WAIT = frozenset({"wait", "timeout_s"})
_LAST = frozenset({"last_event_id"})

ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/sessions", _USERS, _WAIT, body=True),
    Route("GET", "/v1/sessions", _READERS, frozenset({"owner", "status", "template", "cursor", "limit"})),
    Route("GET", _ONE, _READERS | {"session"}, _WAIT),
    Route("DELETE", _ONE, _USERS, frozenset({"reason"})),
    Route("POST", f"{_ONE}/touch", _USERS | {"session", "guard"}, body=True),
    Route("POST", f"{_ONE}/extend", _USERS | {"session"}, body=True),
    Route("POST", f"{_ONE}/pause", _USERS),
    Route("POST", f"{_ONE}/resume", _USERS),
    Route("POST", f"{_ONE}/rotate", _USERS),
    Route("POST", f"{_ONE}/signed-urls", _USERS, body=True),
    Route("GET", f"{_ONE}/verifier", _ADMIN | {"guard"}),
    Route("GET", f"{_ONE}/events", _READERS | {"session"}, _LAST),
    Route("GET", "/v1/events", _READERS, _LAST),
    Route("GET", "/v1/templates", _READERS),
    Route("GET", "/v1/irrevocable", _OPERATORS),
    Route("GET", "/v1/orphans", _OPERATORS),
    Route("GET", "/v1/status", _OPERATORS),
    Route("POST", "/v1/reap", _ADMIN, frozenset({"dry_run"})),
    Route("POST", "/v1/confirm-store", _ADMIN),
    Route("GET", "/v1/keys", _ADMIN),
    Route("POST", "/v1/keys", _ADMIN, body=True),
    Route("DELETE", "/v1/keys/{key_id}", _ADMIN),
    Route("GET", "/metrics", _ADMIN | {"metrics"}),
    Route("GET", "/healthz", PUBLIC),
    Route("GET", "/readyz", PUBLIC),
    Route("GET", "/openapi.json", PUBLIC),
)

_PLAIN: dict[str, dict[str, Route]] = {}
_OF_SESSION: dict[str, dict[str, Route]] = {}
_OF_KEY: dict[str, Route] = {}
for _route in ROUTES:
    if _route.path.startswith(_ONE):
        _OF_SESSION.setdefault(_route.path[len(_ONE) :], {})[_route.method] = _route
    elif _route.path.endswith("{key_id}"):
        _OF_KEY[_route.method] = _route
    else:
        _PLAIN.setdefault(_route.path, {})[_route.method] = _route


def route_of(path: str) -> tuple[Mapping[str, Route], str | None]:
    """The routes at a path, by method (none: there is no such path), and the session's id when it names one."""
    found = _PLAIN.get(path)
    if found is not None:
        return found, None
    if path.startswith("/v1/sessions/"):
        ident, slash, verb = path[13:].partition("/")
        return (_OF_SESSION.get(f"{slash}{verb}", {}), ident) if ident else ({}, None)
    if path.startswith("/v1/keys/") and path.count("/") == 3 and len(path) > 9:
        return _OF_KEY, None
    return {}, None
