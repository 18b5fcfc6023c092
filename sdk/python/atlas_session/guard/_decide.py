"""Who comes in: a function of the request, what verifies visitors, and the time. No I/O, and it never raises.

preflight ──→ answered        /atlas-access/health ──→ answered
public path ──→ admitted, is no activity
one credential ──→ admitted when it is valid ──→ 401 or 403 when not
none ──→ 401     several ──→ 400     no single well-formed Host ──→ 400
a WebSocket from a page of another origin ──→ 403
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from atlas_session._canonical import Parts, canonical_path, netloc_of, split
from atlas_session.errors import AccessDenied, Malformed
from atlas_session.grants import Grant
from atlas_session.guard._cors import is_allowed, is_preflight
from atlas_session.guard._credentials import Found, Several, find, is_reserved
from atlas_session.guard._facts import Facts
from atlas_session.guard._forwarded import PORTS, Seen, look
from atlas_session.guard._settings import GuardSettings
from atlas_session.guard._stripping import HEALTH_PATH
from atlas_session.guard._verifier import Verifier
from atlas_session.urls import Spend, verify_path, verify_url

__all__ = ["Admitted", "Answered", "How", "Refused", "Verdict", "decide", "still_holds"]

# What an upstream could read as a way out of a folder, in a path of the canonical spelling: what is encoded twice, and
# segments that are dots once it drops what stands behind a semicolon, and spaces.
_WAY_OUT = re.compile(r"%25[0-9A-Fa-f]{2}|/(?:%20)*\.(?:\.|%20)*(?:[;/]|%3B|\Z)")

#: ``bearer``: a token. ``signed_url`` and ``signed_path``: a grant. ``public``: nobody was asked for anything.
How = Literal["bearer", "signed_url", "signed_path", "public"]


class Admitted(NamedTuple):
    """Goes to the application. `path`, `query`: what it is to see, encoded; a `path` of None is the request's own."""

    how: How
    path: str | None
    query: str
    address: str | None
    token_hash: str | None = None
    grant: Grant | None = None

    @property
    def is_signed(self) -> bool:
        return self.grant is not None

    @property
    def is_bound(self) -> bool:
        """Whether this path, or this method, is all that is allowed: no header may lead to another."""
        return self.how != "bearer"


@dataclass(frozen=True, slots=True)
class Refused:
    """Does not come in. `reason` is for the log; `challenge` is the ``WWW-Authenticate`` header."""

    status: int
    reason: str
    challenge: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The guard answers by itself: `allowed` says whether a preflight's origin may."""

    what: Literal["preflight", "health"]
    allowed: bool = True


Verdict = Admitted | Refused | Answered


def decide(facts: Facts, settings: GuardSettings, verifier: Verifier, now: float, spend: Spend | None) -> Verdict:
    """What becomes of a request. `now`: unix seconds. `spend`: the memory of single-use grants."""
    try:
        seen = look(facts, settings.trusted_proxies)
        path = _origin_form(facts, seen)
    except Malformed as error:
        return Refused(400, f"malformed: {error.detail}", address=facts.peer)
    rewritten = path != facts.path
    facts = facts._replace(path=path) if rewritten else facts
    if is_preflight(facts):
        return Answered("preflight", is_allowed(facts.only("origin"), settings.origins))
    if path == HEALTH_PATH and facts.method in ("GET", "HEAD") and not facts.websocket:
        return Answered("health")
    if facts.websocket and not _may_connect(facts, settings, seen):
        return Refused(403, "wrong_origin", address=seen.address)
    try:
        found = find(facts)
    except Several as error:
        challenge = _challenge(settings.realm, "invalid_request")
        return Refused(400, f"invalid_request: {error}", challenge, seen.address)
    verdict = _judge(facts, found, seen, settings, verifier, now, spend)
    if rewritten and isinstance(verdict, Admitted) and verdict.path is None:
        return verdict._replace(path=path)  # servers differ in what they make of a whole URL
    return verdict


def still_holds(admitted: Admitted, verifier: Verifier) -> bool:
    """Whether what let a request in would still do, were it not for the time: a connection may outlive its URL."""
    if verifier.revoked:
        return False
    if admitted.grant is not None:
        return admitted.grant.generation == verifier.generation
    return admitted.token_hash is None or admitted.token_hash in verifier.hashes


def _judge(
    facts: Facts,
    found: Found,
    seen: Seen,
    settings: GuardSettings,
    verifier: Verifier,
    now: float,
    spend: Spend | None,
) -> Verdict:
    path = facts.path
    if _is_public(path, settings.public_paths):
        if verifier.revoked:
            return Refused(403, "revoked", address=seen.address)
        return Admitted("public", None, found.query, seen.address)
    if found.bearer is not None:
        token_hash = verifier.match(found.bearer)
        if token_hash is None:
            reason = "revoked" if verifier.revoked else "invalid_token"
            return Refused(401, reason, _challenge(settings.realm, "invalid_token"), seen.address)
        if is_reserved(path):
            return Refused(403, "reserved_path", address=seen.address)
        return Admitted("bearer", None, found.query, seen.address, token_hash=token_hash)
    if found.in_query or found.in_path or is_reserved(path):
        return _signed(facts, found, seen, settings, verifier, now, spend)
    return Refused(401, "no_credential", _challenge(settings.realm), seen.address)


def _signed(
    facts: Facts,
    found: Found,
    seen: Seen,
    settings: GuardSettings,
    verifier: Verifier,
    now: float,
    spend: Spend | None,
) -> Verdict:
    if verifier.revoked:
        return Refused(403, "revoked", address=seen.address)
    if facts.path[:1] not in ("", "/"):  # it would go on with the port's digits
        return Refused(403, "malformed: the path does not begin with a slash", address=seen.address)
    url = f"{_base(seen, settings.public)}{facts.path}" + (f"?{facts.query}" if facts.query else "")
    try:
        verify = partial(verify_url, spend=spend) if found.in_query else verify_path
        grant = verify(
            url,
            keys=verifier.keys,
            method=facts.method,
            generation=verifier.generation,
            address=seen.address,
            now=now,
            leeway_s=settings.leeway_s,
        )
    except AccessDenied as error:
        return Refused(403, f"{error.reason}: {error.detail}", address=seen.address)
    if is_reserved(grant.path):  # in capitals, for example
        return Refused(403, "reserved_path", address=seen.address)
    if grant.prefix is not None and _WAY_OUT.search(grant.path) is not None:
        return Refused(403, "malformed: what could lead out of the prefix", address=seen.address)
    how: How = "signed_url" if found.in_query else "signed_path"
    return Admitted(how, grant.path, grant.query, seen.address, grant=grant)


def _origin_form(facts: Facts, seen: Seen) -> str:
    """The path alone, also when the request names the whole URL (RFC 9112 section 3.2.2). Raises Malformed."""
    path = facts.path
    if "://" not in path[:8]:
        return path
    parts = split(path)
    if (parts.host, parts.port) not in (
        (seen.host, seen.port),
        netloc_of(facts.only("host") or "", PORTS[parts.scheme]),
    ):
        raise Malformed("the request names one host, and its Host header another")
    if parts.query:
        raise Malformed("a query in the path")
    return parts.path


def _base(seen: Seen, public: Parts | None) -> str:
    if public is None:
        return f"{seen.scheme}://{seen.netloc}"
    scheme = public.scheme.replace("http", "ws") if seen.scheme.startswith("ws") else public.scheme
    return f"{scheme}://{public.host}:{public.port}"


def _is_public(path: str, public: Sequence[str]) -> bool:
    """Only a path in its canonical spelling is public: what could be read in two ways is not."""
    if not public:
        return False
    try:
        if canonical_path(path) != path or _WAY_OUT.search(path) is not None:
            return False
    except Malformed:
        return False
    return any(path == allowed or (allowed.endswith("/") and path.startswith(allowed)) for allowed in public)


def _may_connect(facts: Facts, settings: GuardSettings, seen: Seen) -> bool:
    """Whether a WebSocket may be opened by the page that opens it; what is no browser sends no Origin."""
    origins = facts.all("origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    if is_allowed(origins[0], settings.origins):
        return True
    try:
        page = split(origins[0])
        if page.path != "/" or page.query or page.scheme not in ("http", "https"):
            return False
        if settings.public is not None:
            return page[:3] == settings.public[:3]
        return _same_host(seen, page)
    except Malformed:
        return False


def _same_host(seen: Seen, page: Parts) -> bool:
    """Behind a proxy that is not trusted the visitor's scheme is unknown: any scheme's own port is as good as another's."""
    if page.port == PORTS[page.scheme]:
        return (seen.host, seen.port) == (page.host, PORTS[seen.scheme])
    return (seen.host, seen.port) == (page.host, page.port) and seen.port != PORTS[seen.scheme]


def _challenge(realm: str, error: str | None = None) -> str:
    return f'Bearer realm="{realm}"' + (f', error="{error}"' if error else "")
