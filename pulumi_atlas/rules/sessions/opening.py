"""May this session be opened, and by which terms?"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from pulumi_atlas.errors import AtlasError, Failure, InsufficientFunds, RateLimited
from pulumi_atlas.models.session import Lease, OnIdle, SessionRequest
from pulumi_atlas.rules.validation import did_you_mean

__all__ = [
    "RESERVED_ENV",
    "Caps",
    "Standing",
    "Terms",
    "is_loopback",
    "origin_of",
    "over_caps",
    "refusal",
    "reserved_names",
    "source_failures",
    "terms_of",
    "unreachable",
]

#: What a session's pod is told by us: nobody else sets these.
RESERVED_ENV = frozenset(
    {
        "ATLAS_COMPANION_URL",
        "ATLAS_GENERATION",
        "ATLAS_GUARD_KEY",
        "ATLAS_PRESHARED_KEY",
        "ATLAS_SESSION_ID",
        "ATLAS_TOKEN_HASHES",
        "ATLAS_URL_KEYS",
    }
)

#: Seconds after which somebody who has too many sessions may try again.
_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """A lease in which nothing is left open."""

    idle_ttl_s: float
    max_lifetime_s: float | None
    warn_before_s: float
    on_idle: OnIdle
    paused_ttl_s: float
    budget: float | None


class Caps(Protocol):
    """The most that a request may ask for; None: anything."""

    @property
    def max_idle_ttl_s(self) -> float | None: ...
    @property
    def max_lifetime_s(self) -> float | None: ...
    @property
    def max_budget(self) -> float | None: ...
    @property
    def sessions_per_owner(self) -> int | None: ...
    @property
    def sessions(self) -> int | None: ...
    @property
    def owner_budget(self) -> float | None: ...
    @property
    def owner_budget_days(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is already: sessions that are not gone, of all and of this owner, and the owner's money so far."""

    sessions: int
    of_owner: int
    spent: float


def terms_of(request: Lease, template: Lease | None, defaults: Any) -> Terms:
    """Each field from the request, else from the template, else from the settings."""

    def pick(name: str) -> Any:
        for source in (request, template):
            if source is not None and getattr(source, name) is not None:
                return getattr(source, name)
        return getattr(defaults, name)

    return Terms(**{name: pick(name) for name in Terms.__dataclass_fields__})


def over_caps(request: Lease, caps: Caps) -> Iterator[Failure]:
    """What the request asks for beyond what any request may. Templates and settings are the operator's own words."""
    for name, cap in (
        ("idle_ttl_s", caps.max_idle_ttl_s),
        ("max_lifetime_s", caps.max_lifetime_s),
        ("budget", caps.max_budget),
    ):
        asked = getattr(request, name)
        if asked is not None and cap is not None and asked > cap:
            yield Failure(name, f"is more than {cap:g}, which is the most here", f"ask for {cap:g} or less")


def source_failures(request: SessionRequest, templates: Collection[str]) -> Iterator[Failure]:
    """A session is made from a template that is known, or from a spec: one of the two."""
    if request.template is not None and request.spec is not None:
        yield Failure("spec", "cannot be given together with template", "one of the two")
    elif request.template is None and request.spec is None:
        yield Failure("template", "is required", "name a template, or give a spec")
    elif request.template is not None and request.template not in templates:
        hint = did_you_mean(request.template, templates) if templates else "none is declared"
        yield Failure("template", "is not known here", hint)


def reserved_names(env: Mapping[str, Any], *, also: Collection[str] = ()) -> Iterator[Failure]:
    """Names in a pod's environment that are ours."""
    for name in env:
        if name in RESERVED_ENV or name in also:
            yield Failure(f"env.{name}", "is set by the companion", "leave it out")


def unreachable(public_url: str | None, *, remote: bool) -> Iterator[Failure]:
    """A pod elsewhere cannot reach a companion that only listens on loopback: it would end as idle while in use."""
    if not remote:
        return
    if public_url is None:
        yield Failure("provider", "its pods could not reach this companion", "set runtime.public_url in atlas.yaml")
    elif is_loopback(urlsplit(public_url).hostname or ""):
        hint = "set it to an address that the pods can reach"
        yield Failure("provider", "its pods could not reach this companion: runtime.public_url is a loopback one", hint)


def refusal(owner: str | None, standing: Standing, caps: Caps) -> AtlasError | None:
    """Why no further session may be opened now: RateLimited for their number, InsufficientFunds for money."""
    if caps.sessions is not None and standing.sessions >= caps.sessions:
        return RateLimited(f"there are {standing.sessions} sessions, as many as there may be", retry_after=_RETRY_S)
    if owner is None:
        return None
    if caps.sessions_per_owner is not None and standing.of_owner >= caps.sessions_per_owner:
        text = f"this owner has {standing.of_owner} sessions, as many as one may have"
        return RateLimited(text, retry_after=_RETRY_S, hint="close one first")
    if caps.owner_budget is not None and standing.spent >= caps.owner_budget:
        text = f"this owner has spent {standing.spent:.2f} in the last {caps.owner_budget_days} days"
        return InsufficientFunds(f"{text}, of {caps.owner_budget:.2f}", hint="wait, or let the operator raise it")
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own for nobody else to reach."""
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address; the scheme's own port when none is written. WebSockets count as their HTTP."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme.lower(), parts.scheme.lower())
    try:
        port = parts.port
    except ValueError:
        port = None
    return scheme, (parts.hostname or "").lower(), port or {"http": 80, "https": 443}.get(scheme)
