"""How a companion behaves: the section `runtime` of atlas.yaml, with its defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pulumi_atlas.models import Frozen, WholeNumber
from pulumi_atlas.models.session import Lease, OnIdle, SessionAuth

__all__ = ["Limits", "RuntimeSettings", "SessionTemplate", "Webhook"]

#: The longest that the heartbeats of our clients pause after a failure, seconds. A restart's grace is never shorter than it.
LONGEST_BACKOFF_S = 60.0

Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
Money = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[WholeNumber, Field(ge=1)]
Origin = Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]


class SessionTemplate(Lease):
    """A session that keys other than admin may open by name. `spec`: a `ComputeSpec` with `provider` and maybe `account`.

    `env_from`: names of variables of the companion's own environment that are handed on to the pod. `for_backends`: whether
    backend keys may open it; left out, they may unless its provider is `local`. `ready_timeout_s`: how long its pod may take.
    """

    spec: dict[str, Any]
    env_from: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] = ()
    auth: SessionAuth = "bearer"
    for_backends: bool | None = None
    ready_timeout_s: Seconds = 600.0
    description: str = ""


class Limits(Frozen):
    """What sessions may take. None: no limit. `owner_budget` (money) counts the last `owner_budget_days`.

    `max_idle_ttl_s`, `max_lifetime_s`, `max_budget`: the most that a request may ask for. `max_extend_s`: the most that one
    extension adds for the bearer of a touch token.
    """

    sessions_per_owner: Count | None = None
    sessions: Count | None = None
    owner_budget: Money | None = None
    owner_budget_days: Annotated[WholeNumber, Field(ge=1, le=366)] = 30
    max_idle_ttl_s: Seconds | None = None
    max_lifetime_s: Seconds | None = None
    max_extend_s: Seconds = 4 * 3600.0
    max_budget: Money | None = None


class Webhook(Frozen):
    """Where events go, signed by Standard Webhooks.

    `secret_env`, `secret_file`: where the `whsec_…` secret is; several with commas between them, while one is replaced. `kinds`:
    which events; empty: all. `allow_private`: networks of private addresses that it may reach.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    secret_env: str | None = None
    secret_file: str | None = None
    kinds: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("say either secret_env or secret_file")
        return self


class RuntimeSettings(Frozen):
    """Everything but where it listens and where its store is. Seconds unless the name says otherwise.

    `public_url`: where pods and browsers reach this companion. `grace_s`: after a restart, no idleness ends a session before that.
    `flush_interval_s`: how much activity a crash may lose. `max_kills_per_minute`: a circuit breaker, 0: none.
    `jump_s`: a wall clock that moves this much more or less than the monotonic one freezes kills for `grace_s`.
    """

    # leases
    idle_ttl_s: Seconds = 900.0
    max_lifetime_s: Seconds | None = 24 * 3600.0
    warn_before_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    on_idle: OnIdle = "terminate"
    paused_ttl_s: Seconds = 7 * 86_400.0
    budget: Money | None = None
    limits: Limits = Limits()
    templates: dict[str, SessionTemplate] = {}
    # safety
    grace_s: Seconds = 120.0
    flush_interval_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    max_kills_per_minute: Annotated[WholeNumber, Field(ge=0)] = 120
    jump_s: Seconds = 30.0
    inspect_interval_s: Seconds = 30.0
    orphan_sweep: Literal["off", "dry_run", "on"] = "dry_run"
    orphan_min_age_s: Seconds = 600.0
    orphan_sightings: Annotated[WholeNumber, Field(ge=2, le=10)] = 2
    orphan_max_per_cycle: Count = 5
    # work
    provider_calls: Annotated[WholeNumber, Field(ge=1, le=512)] = 32
    call_timeout_s: Seconds = 120.0
    terminate_tries: Count = 6
    irrevocable_retry_s: Seconds = 900.0
    # doors
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")] | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    touch_sources: tuple[str, ...] = ("http", "upload", "ws", "client", "job", "gpu", "custom")
    max_body_bytes: Count = 1 << 20
    # keeping
    keep_events_days: Count = 30
    keep_sessions_days: Count = 90
    keep_answers_s: Seconds = 86_400.0
    webhooks: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], Webhook] = {}
    log_format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _grace_covers_what_a_crash_loses(self) -> Self:
        least = self.flush_interval_s + LONGEST_BACKOFF_S
        if self.grace_s < least:
            raise ValueError(f"grace_s is at least flush_interval_s + {LONGEST_BACKOFF_S:g}, which is {least:g}")
        return self
