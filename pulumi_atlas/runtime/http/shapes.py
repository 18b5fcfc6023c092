"""What requests and answers look like: for validation of the former, and for the published document of both.

Times are unix seconds by the companion's clock, durations seconds, money in the account's currency.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pulumi_atlas.models import Frozen, WholeNumber
from pulumi_atlas.models.session import SessionState
from pulumi_atlas.runtime.store.contract import Scope

__all__ = [
    "Confirmed",
    "Extension",
    "Health",
    "IrrevocableList",
    "KeyList",
    "KeyMade",
    "KeyRequest",
    "KeyView",
    "OpenedView",
    "OrphanList",
    "Plan",
    "Problem",
    "ResumedView",
    "SessionList",
    "SessionView",
    "SignedUrl",
    "SignedUrlRequest",
    "Status",
    "TemplateList",
    "Touch",
    "TouchView",
    "VerifierView",
]

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Answer(BaseModel):
    """Further fields may come."""

    model_config = ConfigDict(extra="allow")


class Problem(_Answer):
    """RFC 9457. `errors`: each thing that is wrong with the input."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str | None = None
    errors: list[dict[str, str]] | None = None


class TouchView(_Answer):
    """A session as a touch shows it: what memory has at hand of it. `status` and `state` say the same."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    status: SessionState
    state: SessionState
    generation: int
    remaining_s: float | None
    deadline: float | None
    deadline_kind: Literal["idle", "lifetime", "budget", "paused"] | None
    warning_at: float | None
    expires_at: float | None
    now: float


class SessionView(TouchView):
    """A session."""

    owner: str | None
    active_at: float | None
    active_source: str | None
    cost: float | None
    template: str | None
    labels: dict[str, str]
    provider: str
    account: str | None
    auth: Literal["bearer", "signed_url", "none"]
    urls: dict[str, str]
    pod_id: str | None
    created_at: float
    ready_at: float | None
    touches: int
    paused_at: float | None
    ended_at: float | None
    idle_ttl_s: float
    max_lifetime_s: float | None
    warn_before_s: float
    on_idle: Literal["terminate", "stop"]
    paused_ttl_s: float
    budget: float | None
    cost_per_hour: float | None
    cause: str
    reason: str
    attempts: int
    next_attempt_at: float | None


class OpenedView(SessionView):
    """A session with what lets its user in: `token` at the pod (null where it needs none), `touch_token` here."""

    token: str | None
    touch_token: str


class ResumedView(SessionView):
    """A session that begins again. The tokens are absent when the key that they come from has retired: rotate it then."""

    token: str | None = None
    touch_token: str | None = None


class SessionList(_Answer):
    """Some sessions, and the cursor of the next."""

    sessions: list[SessionView]
    next_cursor: str | None


class Touch(Frozen):
    """Activity, `idle_s` seconds ago, `count` times since the last report."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")] = "client"
    idle_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    count: Annotated[WholeNumber, Field(ge=1, lt=2**53)] = 1


class Extension(Frozen):
    """Keep it for so many seconds from now: as if it were in use (`idle`), or its whole life (`lifetime`)."""

    seconds: Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False, strict=True)]
    deadline: Literal["idle", "lifetime"] = "idle"


class SignedUrlRequest(Frozen):
    """For `path` at `port` (absent: the only one), or for a whole `url` of the session."""

    expires_in_s: Annotated[WholeNumber, Field(ge=1, le=366 * 86_400)]
    url: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    port: Annotated[str, Field(pattern=r"^[0-9]{1,5}$")] | None = None
    path: Annotated[str, Field(pattern=r"^/", max_length=4096)] | None = None
    form: Literal["url", "path"] = "url"
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")] = "GET"
    prefix: bool = False
    not_before: Annotated[WholeNumber, Field(ge=0, lt=2**53)] | None = None
    address: Annotated[str, Field(max_length=64)] | None = None
    single_use: bool = False


class SignedUrl(_Answer):
    url: str
    expires_at: float


class VerifierView(_Answer):
    """What verifies visitors now, for the guard."""

    generation: int
    token_hashes: list[str]
    url_keys: dict[str, str]
    revoked: bool
    poll_s: float


class _Rows(_Answer):
    """`left_out`: how many more there are than one answer holds."""

    left_out: int


class IrrevocableList(_Rows):
    sessions: list[dict[str, Any]]


class OrphanList(_Rows):
    orphans: list[dict[str, Any]]


class TemplateList(_Rows):
    templates: list[dict[str, Any]]


class Plan(_Answer):
    """What the reaper would do now."""


class Status(_Answer):
    """How the companion is."""


class Confirmed(_Answer):
    deployment_id: str
    frozen: str


class KeyRequest(Frozen):
    scope: Scope
    name: Name = "unnamed"


class KeyView(_Answer):
    """A key; the key itself is shown only when it is made."""

    id: str
    scope: Scope
    name: str
    created_at: float
    revoked_at: float | None


class KeyMade(KeyView):
    key: str


class KeyList(_Answer):
    keys: list[KeyView]


class Health(_Answer):
    """`reasons`: what is not as it should be; it is ready all the same, unless `status` says otherwise."""

    status: str
    reasons: list[str]
