"""A session as the API, events and webhooks show it: plain JSON, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_atlas.models.session import Session
from pulumi_atlas.rules.sessions.lease import Moment, Tenure, cost_at, deadlines

if TYPE_CHECKING:
    from pulumi_atlas.runtime.ledger import Live

__all__ = ["shown"]

_PLAIN = (
    *("id", "state", "owner", "template", "labels", "provider", "account", "generation", "auth", "urls", "pod_id"),
    *("created_at", "ready_at", "active_at", "active_source", "touches", "expires_at", "paused_at", "ended_at"),
    *("idle_ttl_s", "max_lifetime_s", "warn_before_s", "on_idle", "paused_ttl_s", "budget", "cost_per_hour"),
    *("cause", "reason", "attempts", "next_attempt_at"),
)


def shown(session: Session, now: Moment, live: Live | None = None) -> dict[str, Any]:
    """The session at this moment. `status` is another name of `state`; `now` lets a client count by our clock.

    `deadline` (unix seconds) and `deadline_kind`: the first thing that will end or pause it; `warning_at`: when that is
    warned of; `remaining_s` until then; `cost`: money so far, None while the price is not known.
    """
    plain: dict[str, Any] = {name: getattr(session, name) for name in _PLAIN}
    first = deadlines(_tenure(session, now, live), now)[:1]
    ends = first[0] if first else None
    known = session.cost_per_hour is not None or session.is_final
    cost = cost_at(session.cost_settled, session.cost_per_hour, session.cost_since, now.wall)
    return plain | {
        "status": session.state,
        "deadline": None if ends is None else _wall(ends.at, now),
        "deadline_kind": None if ends is None else ends.kind,
        "warning_at": None if ends is None or ends.warn_at is None else _wall(ends.warn_at, now),
        "remaining_s": None if ends is None else round(max(0.0, ends.at - now.mono), 3),
        "cost": round(cost, 6) if known or cost else None,
        "now": round(now.wall, 3),
    }


def _tenure(session: Session, now: Moment, live: Live | None) -> Tenure:
    from pulumi_atlas.runtime.ledger import Live

    if live is not None and live.version == session.version:
        return live
    made = Live(session, now)
    if live is not None:
        made.active_mono, made.keep_mono, made.grace_mono = live.active_mono, live.keep_mono, live.grace_mono
    return made


def _wall(mono: float, now: Moment) -> float:
    return round(now.wall + (mono - now.mono), 3)
