"""What happens to sessions, as lines of the log."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.logs import logger

__all__ = ["chronicle"]

_log = logger("pulumi_atlas.runtime.sessions")
_ALARMING = frozenset({"failed", "irrevocable"})


def chronicle(session: Session, events: Sequence[SessionEvent]) -> None:
    """A line for each event; a warning where somebody may have to look. A ledger's listener."""
    for event in events:
        state = event.data.get("state") if event.kind == "status" else None
        fields = {
            "session": session.id, "owner": session.owner, "provider": session.provider, "pod": session.pod_id,
            "cause": event.cause, "actor": event.actor, "reason": event.data.get("reason") or None,
            "deadline": event.data.get("warned_of"), "number": event.number,
        }  # fmt: skip
        tell = _log.warning if state in _ALARMING else _log.info
        tell(f"session {state or event.kind}", **{name: value for name, value in fields.items() if value is not None})
