"""Where a credential may stand in a request, and that there is only one. RFC 6750 section 3.1: more than one is an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from atlas_session._canonical import RESERVED, take_reserved
from atlas_session.errors import Malformed
from atlas_session.guard._facts import Facts

__all__ = [
    "BEARER_PROTOCOL",
    "IN_FRONT",
    "SESSION_PROTOCOL",
    "TOKEN_INSIDE",
    "Found",
    "Several",
    "find",
    "is_reserved",
    "without_bearers",
]

#: A browser's WebSocket offers these two subprotocols; the second has the token after it.
SESSION_PROTOCOL = "atlas-session"
BEARER_PROTOCOL = "atlas-bearer."
IN_FRONT = f"/{RESERVED}/"

TOKEN_INSIDE = re.compile(r"atlas_[A-Za-z0-9_-]{43}")


class Several(Exception):
    """More than one credential, or one that could be read in two ways."""


class Found(NamedTuple):
    """At most one of the three is set. `bearer`: the token as sent. `query`: the request's, without a grant."""

    bearer: str | None
    in_query: bool
    in_path: bool
    query: str


def find(facts: Facts) -> Found:
    """Raises Several."""
    try:
        grant, rest = take_reserved(facts.query)
    except Malformed:
        raise Several("the reserved parameter is given twice, or spelled in another way") from None
    bearers = [*_in_headers(facts.all("authorization")), *_in_protocols(facts)]
    in_path = facts.path.startswith(IN_FRONT)
    if len(bearers) + (grant is not None) + in_path > 1:
        raise Several("more than one credential")
    return Found(bearers[0] if bearers else None, grant is not None, in_path, rest)


def _in_headers(lines: Sequence[str]) -> list[str]:
    """The tokens of ``Authorization: Bearer``. Another scheme is none of ours, unless our token hides in it."""
    if not lines:
        return []
    if len(lines) > 1:
        raise Several("more than one Authorization header")
    if _is_bearer(lines[0]):
        token = lines[0][6:].strip(" \t")
        if "," in token:  # a server that joins two headers into one
            raise Several("more than one Authorization header")
        return [token]
    if TOKEN_INSIDE.search(lines[0]) is not None:
        raise Several("a token under another scheme")
    return []


def _is_bearer(line: str) -> bool:
    """Whether an ``Authorization`` is of the Bearer scheme, whose name is written in any case (RFC 9110 section 11.1)."""
    return line[:6].lower() == "bearer" and line[6:7] in ("", " ", "\t")


def _in_protocols(facts: Facts) -> list[str]:
    return [name[len(BEARER_PROTOCOL) :] for name in facts.protocols if _is_bearer_protocol(name)]


def _is_bearer_protocol(name: str) -> bool:
    return name.lower().startswith(BEARER_PROTOCOL)


def without_bearers(protocols: Iterable[str]) -> list[str]:
    """The subprotocols that the application may see."""
    return [name for name in protocols if not _is_bearer_protocol(name.strip(" \t"))]


def is_reserved(path: str) -> bool:
    """Whether the path's first segment is the guard's own, in any spelling."""
    if path.startswith(IN_FRONT):
        return True
    if "%" not in path and RESERVED not in path.lower():
        return False  # nearly every path
    segments = [part for part in unquote(path).replace("\\", "/").split("/") if part]
    return bool(segments) and segments[0].partition(";")[0].strip().lower() == RESERVED
