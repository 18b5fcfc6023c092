"""A session: a pod rented for one user for a while. What is asked for, what is known of it, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from pulumi_atlas.models._base import Frozen, WholeNumber
from pulumi_atlas.models.compute import ComputeSpec
from pulumi_atlas.models.ready import Ready

__all__ = [
    "EVENT_KINDS",
    "FINAL_STATES",
    "GONE_STATES",
    "Budget",
    "Cause",
    "Lease",
    "OnIdle",
    "Session",
    "SessionAuth",
    "SessionEvent",
    "SessionRequest",
    "SessionSpec",
    "SessionState",
]

#: See `pulumi_atlas.rules.sessions.states` for the drawing of how one follows the other.
SessionState = Literal[
    "requested",
    "provisioning",
    "ready",
    "pausing",
    "paused",
    "resuming",
    "terminating",
    "terminated",
    "failed",
    "irrevocable",
]

#: Kinds of `SessionEvent`; see there.
EVENT_KINDS = ("status", "warning", "extended", "rotated", "note")

#: Nothing follows, and nothing costs money any more.
FINAL_STATES: frozenset[SessionState] = frozenset({"terminated", "failed"})

#: The session is over for who uses it. Its pod may still be there.
GONE_STATES: frozenset[SessionState] = FINAL_STATES | {"terminating", "irrevocable"}

#: What the pod's visitors are let in with; `none`: the pod sees to that itself.
SessionAuth = Literal["bearer", "signed_url", "none"]

#: What happens at the end of the idle time. `stop` keeps the pod's storage, where the provider can; else as `terminate`.
OnIdle = Literal["terminate", "stop"]

#: Why a session changed its state. `closed`: somebody asked for it. `gone`: the pod is proven not to be there any more.
Cause = Literal[
    "opened",
    "rented",
    "usable",
    "closed",
    "idle",
    "lifetime",
    "budget",
    "owner_budget",
    "paused_too_long",
    "pause",
    "resume",
    "stopped",
    "started",
    "pod_ended",
    "gone",
    "reclaimed",
    "provision_failed",
    "provision_timeout",
    "no_price",
    "confirmed",
    "not_confirmed",
    "operator",
]

Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False, strict=True)]
Money = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._@:+-]{0,126}[A-Za-z0-9])?$"


class Lease(Frozen):
    """The rule of a session's life; a field that is None comes from the template, then from the companion's settings.

    `idle_ttl_s`: seconds without activity until it ends (or is paused, by `on_idle`). `max_lifetime_s`: seconds from its
    opening until it ends in any case, pauses included. `warn_before_s`: how long before a deadline to warn; 0: never.
    `paused_ttl_s`: seconds that a pause may last until the pod is terminated. `budget`: money that it may cost, storage included.
    """

    idle_ttl_s: Seconds | None = None
    max_lifetime_s: Seconds | None = None
    warn_before_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False, strict=True)] | None = None
    on_idle: OnIdle | None = None
    paused_ttl_s: Seconds | None = None
    budget: Money | None = None


class SessionRequest(Lease):
    """The body of ``POST /v1/sessions``: a `template` by name, or a `spec`: a `ComputeSpec` with `provider` and maybe `account`."""

    template: Annotated[str, Field(pattern=_NAME)] | None = None
    spec: dict[str, Any] | None = Field(default=None, repr=False)
    owner: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    auth: SessionAuth | None = None
    labels: Annotated[
        dict[Annotated[str, Field(pattern=_NAME)], Annotated[str, Field(max_length=256)]], Field(max_length=32)
    ] = {}


class SessionSpec(ComputeSpec):
    """The pod of a session: what is asked for, where, and what must be true before it counts as ready."""

    provider: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    account: Annotated[str, Field(min_length=1)] | None = None
    ready: Ready | None = None

    def compute(self) -> ComputeSpec:
        """The part that the provider is asked for."""
        return ComputeSpec.model_construct(**{field: getattr(self, field) for field in ComputeSpec.model_fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the store knows of a session: one row. Times are unix seconds, durations seconds, money in the account's currency.

    `version` grows with every write of the row; a write names the version that it was decided on. `generation` is another
    number: only rotate and resume raise it, and what was issued before is refused then. `birth` is that of the creation
    under way or done; `pod_id` is known once the provider answered. `outcome`: which final state follows when the pod is
    gone. `spec` is a `SessionSpec` without `env` and `provider_options`, which are kept sealed until the pod is rented
    (`sealed_env`), and not at all afterwards. `warned`: identities of the deadlines that were warned of, with spaces between.

    Money: `cost_settled` up to `cost_since`, from there `cost_per_hour` (None: the price is not known).
    """

    id: str
    state: SessionState
    version: int = 0
    generation: int = 0
    owner: str | None = None
    template: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    provider: str
    account: str | None = None
    identity: str | None = None
    spec: dict[str, Any] = field(default_factory=dict, repr=False)
    sealed_env: bytes | None = field(default=None, repr=False)
    auth: SessionAuth = "bearer"
    ready_timeout_s: float = 600.0
    birth: str | None = None
    pod_id: str | None = None
    urls: dict[str, str] = field(default_factory=dict)
    # lease
    idle_ttl_s: float
    max_lifetime_s: float | None
    warn_before_s: float
    on_idle: OnIdle
    paused_ttl_s: float
    budget: float | None
    # times
    created_at: float
    ready_at: float | None = None
    active_at: float | None = None
    active_source: str | None = None
    touches: int = 0
    keep_until: float | None = None
    expires_at: float | None = None
    paused_at: float | None = None
    ended_at: float | None = None
    warned: str | None = None
    # money
    cost_settled: float = 0.0
    cost_per_hour: float | None = None
    cost_since: float | None = None
    # the end
    outcome: Literal["terminated", "failed"] | None = None
    cause: Cause = "opened"
    reason: str = ""
    attempts: int = 0
    next_attempt_at: float | None = None
    # ways in: only hashes (SHA-256 of the token's text, hex)
    token_hash: str | None = None
    touch_hash: str = ""
    guard_hash: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_gone(self) -> bool:
        """Over for who uses it."""
        return self.state in GONE_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """Something that happened, written with the change that it tells of. `number` grows by one order for all sessions.

    `kind`: `status` (a change of state), `warning` (`data.warned_of` names which), `extended`, `rotated`, `note`.
    `actor`: who caused it: `key:<id>`, `session` (the touch token), `reaper`, `provider`, `companion`, `operator`.
    `data` is a JSON object without secrets; for `status` and `warning` it holds the session as the API shows it.
    """

    number: int = 0
    at: float
    session_id: str | None
    kind: str
    actor: str
    cause: str
    data: dict[str, Any] = field(default_factory=dict)
    owner: str | None = None


class Budget(Frozen):
    """Money that an owner may spend in the last `days` days, sessions that run included."""

    amount: Money
    days: Annotated[WholeNumber, Field(ge=1, le=366)] = 30
