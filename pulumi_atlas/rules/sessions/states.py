"""Which state of a session may follow which, and what its pod then needs.

::

    requested ─► provisioning ─► ready ◄────────────── resuming
        │             │          │ ▲ │                  ▲   │
        │             │          ▼ │ └────► terminating │   │ (no capacity)
        │             │       pausing ─► paused ────────┘◄──┘
        │             │          │          │
        ▼             ▼          ▼          ▼
      failed ◄─── terminating ◄──┴──────────┘      every state that is not gone may become terminating
                      │   ▲
                      ▼   │ (asked again, for ever)
                 irrevocable ─► terminated | failed

`failed` and `terminated` are final: nothing is left that costs money. `irrevocable`: asked to terminate again and again, and
the provider has not confirmed; it still costs money, and is never dropped.
"""

from __future__ import annotations

from typing import Literal

from pulumi_atlas.models.session import GONE_STATES, SessionState

__all__ = ["FOLLOWERS", "Act", "act_for", "may_follow"]

#: What a session's pod needs now. `rent` covers looking for what an unfinished creation may have left.
Act = Literal["rent", "stop", "start", "terminate", "none"]

FOLLOWERS: dict[SessionState, frozenset[SessionState]] = {
    "requested": frozenset({"provisioning", "terminating", "failed"}),
    "provisioning": frozenset({"ready", "terminating", "failed"}),
    "ready": frozenset({"pausing", "terminating"}),
    "pausing": frozenset({"paused", "ready", "terminating"}),
    "paused": frozenset({"resuming", "terminating"}),
    "resuming": frozenset({"ready", "paused", "terminating"}),
    "terminating": frozenset({"terminated", "failed", "irrevocable"}),
    "irrevocable": frozenset({"terminated", "failed"}),
    "terminated": frozenset(),
    "failed": frozenset(),
}

_ACTS: dict[SessionState, Act] = {
    "requested": "rent",
    "provisioning": "rent",
    "pausing": "stop",
    "resuming": "start",
    "terminating": "terminate",
    "irrevocable": "terminate",
}


def may_follow(before: SessionState, after: SessionState) -> bool:
    """Whether a session may go from one state to the other. Staying is no transition."""
    return after in FOLLOWERS[before]


def act_for(state: SessionState) -> Act:
    """What a worker does for a session in that state."""
    return _ACTS.get(state, "none")


assert all("terminating" in after for before, after in FOLLOWERS.items() if before not in GONE_STATES)
