"""Which headers pass, pure: RFC 9110 section 7.6.1 for what stays on one leg, and RFC 9112 section 6 for how a body is framed.

Headers are a list of (name, value) in bytes, names in any case, as ASGI and httpcore have them. What passes keeps its
order and its value; duplicates stay duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

__all__ = [
    "BadFraming",
    "Framing",
    "Headers",
    "Seen",
    "accept_headers",
    "handshake_headers",
    "hop_by_hop",
    "host_of",
    "request_framing",
    "request_headers",
    "response_headers",
    "without_hop_by_hop",
]

Headers = list[tuple[bytes, bytes]]

#: What concerns one connection only. Proxy-Authorization is meant for a proxy, which is us. Trailers are not passed on.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: What `Connection` cannot take away: without them the message would become another one.
_NEVER_NAMED = frozenset({b"content-length", b"host"})
#: Who the visitor is: we say it, whatever was said before. With everything that begins with x-forwarded-.
_WHO = frozenset({b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"})
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class BadFraming(ValueError):
    """Nobody can say for certain where this request ends, so it is not passed on."""


class Framing(NamedTuple):
    """How a request's body is framed: not there, `length` bytes long, or in chunks."""

    kind: Literal["none", "length", "chunked"]
    length: int = 0


class Seen(NamedTuple):
    """The visitor as the guard saw it: an address or nothing, ``http`` or ``https``, and the host that was asked for."""

    address: str | None
    scheme: str
    host: bytes


def hop_by_hop(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The names, in lower case, of what stays on this leg: the fixed ones and those that `Connection` names."""
    named = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named |= {token.strip(b" \t").lower() for token in value.split(b",")}
    return _HOP_BY_HOP | (named - _NEVER_NAMED)


def without_hop_by_hop(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The headers less those of this leg, in their order."""
    dropped = hop_by_hop(headers)
    return [(name, value) for name, value in headers if _plain(name) not in dropped and name.lower() not in dropped]


def request_framing(headers: Iterable[tuple[bytes, bytes]]) -> Framing:
    """How the request's body is framed. Raises BadFraming wherever two readers could differ (request smuggling)."""
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    for name, value in headers:
        if not name or not _TOKEN.issuperset(name):
            raise BadFraming("a header's name is none")
        if name.lower() == b"content-length":
            lengths |= {item.strip(b" \t") for item in value.split(b",")}
        elif name.lower() == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
    if codings:
        if lengths or codings != [b"chunked"]:
            raise BadFraming("the body's end is said in two ways, or in one that we do not know")
        return Framing("chunked")
    if not lengths:
        return Framing("none")
    text = next(iter(lengths))
    if len(lengths) > 1 or not text or not _DIGITS.issuperset(text) or len(text) > 18:
        raise BadFraming("two lengths, or one that is no number")
    return Framing("length", int(text))


_DIGITS = frozenset(b"0123456789")


def request_headers(
    headers: Sequence[tuple[bytes, bytes]], seen: Seen, framing: Framing, host: bytes | None
) -> Headers:
    """What the upstream is sent. `host` replaces the Host that was received.

    Expect is ours: the visitor is told to continue when the upstream is there.
    """
    passed = [(b"host", host_of(headers, seen) if host is None else host)]
    passed += [(name, value) for name, value in without_hop_by_hop(headers) if not _is_ours(name.lower())]
    if framing.kind == "length":
        passed.append((b"content-length", b"%d" % framing.length))
    elif framing.kind == "chunked":
        passed.append((b"transfer-encoding", b"chunked"))
    return passed + _who(seen)


def host_of(headers: Sequence[tuple[bytes, bytes]], seen: Seen) -> bytes:
    """The Host that was received. It may be another than what the visitor asked for, when a proxy in front wrote it."""
    return next((value for name, value in headers if name.lower() == b"host"), seen.host)


def handshake_headers(headers: Sequence[tuple[bytes, bytes]], seen: Seen) -> Headers:
    """What the upstream is sent beside the WebSocket handshake's own headers, which are made anew for each leg."""
    framing = Framing("none")
    return [
        (name, value)
        for name, value in request_headers(headers, seen, framing, None)
        if name.lower() != b"host" and not name.lower().startswith(b"sec-websocket-")
    ]


def response_headers(headers: Sequence[tuple[bytes, bytes]], status: int) -> Headers:
    """What the visitor is sent, names in lower case. The server frames the body of an answer that has no length."""
    # With both, the chunks count; and beside an answer without a body, a length is one more thing to get wrong.
    no_length = status in (204, 304) or any(name.lower() == b"transfer-encoding" for name, _ in headers)
    passed, seen_length = [], no_length
    for name, value in without_hop_by_hop(headers):
        lower = name.lower()
        if lower == b"content-length":
            if seen_length:
                continue
            seen_length = True
        passed.append((lower, value))
    return passed


def accept_headers(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """What the visitor is sent beside the handshake's own headers when the upstream accepts, cookies for example."""
    return [(name, value) for name, value in response_headers(headers, 204) if not name.startswith(b"sec-websocket-")]


def _plain(name: bytes) -> bytes:
    """Lower case, with dashes: CGI and WSGI programs cannot tell ``X_Forwarded_For`` from ``X-Forwarded-For``."""
    return name.lower().replace(b"_", b"-")


def _is_ours(name: bytes) -> bool:
    """Whether the visitor has no say in it. Of names with an underscore in none: to CGI and WSGI programs they are others.

    ``X_Forwarded_For`` is X-Forwarded-For, and some servers take ``SCRIPT_NAME`` from their neighbour for the variable.
    """
    return (
        b"_" in name
        or name in _WHO
        or name.startswith(b"x-forwarded-")
        or name in (b"host", b"content-length", b"expect")
    )


def _who(seen: Seen) -> Headers:
    scheme = {"ws": "http", "wss": "https"}.get(seen.scheme, seen.scheme)
    found = [(b"x-forwarded-proto", scheme.encode("ascii")), (b"x-forwarded-host", seen.host)]
    if seen.address is not None:
        found.insert(0, (b"x-forwarded-for", seen.address.encode("ascii")))
    return found
