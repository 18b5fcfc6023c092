"""What is sent of an event: its id, which never changes, and its body."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pulumi_atlas.models.session import SessionEvent

__all__ = ["MOST_BYTES", "Message", "message_of"]

#: What Standard Webhooks advises as the most.
MOST_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Message:
    """`id` names the event for whoever gets it twice; `body` is JSON."""

    id: str
    body: str


def message_of(event: SessionEvent) -> Message:
    """The message. The id is made of the whole event: in a restored store another event may have the same number."""
    about = {"number": event.number, "actor": event.actor, "cause": event.cause}
    frame: dict[str, Any] = {"session_id": event.session_id, "owner": event.owner, "event": about}
    body = _body(event, {**event.data, **frame})
    if len(body.encode()) >= MOST_BYTES:
        short: dict[str, Any] = {name: event.data[name] for name in ("id", "state", "status") if name in event.data}
        body = _body(event, {**short, **frame, "shortened": True})
    whole = json.dumps([event.at, event.kind, frame, event.data], sort_keys=True)
    return Message("evt_" + hashlib.sha256(whole.encode()).hexdigest()[:32], body)


def _body(event: SessionEvent, data: object) -> str:
    at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": f"session.{event.kind}", "timestamp": at, "data": data}, separators=(",", ":"))
