"""The client of a companion, which keeps sessions: open, touch, extend and end them, follow their events, and beat their heart.

`CompanionClient` for synchronous code, `AsyncCompanionClient` for asyncio. What they raise is drawn in
`atlas_session.companion.errors`; what they ask is section 9 of SPECIFICATION.md. Standard library only.
"""

from __future__ import annotations

from atlas_session.companion.aio import AsyncCompanionClient
from atlas_session.companion.errors import (
    BadAnswer,
    Busy,
    CompanionError,
    NoSuchSession,
    NotAllowed,
    Refused,
    SessionEnded,
    Unreachable,
)
from atlas_session.companion.heartbeat import AsyncHeartbeat, Heartbeat
from atlas_session.companion.sync import CompanionClient
from atlas_session.companion.values import Event, Session

__all__ = [
    "AsyncCompanionClient",
    "AsyncHeartbeat",
    "BadAnswer",
    "Busy",
    "CompanionClient",
    "CompanionError",
    "Event",
    "Heartbeat",
    "NoSuchSession",
    "NotAllowed",
    "Refused",
    "Session",
    "SessionEnded",
    "Unreachable",
]
