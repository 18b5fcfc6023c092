"""How much of everything one process takes, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_ANSWER", "Bounds"]

#: No answer is longer, bytes: SPECIFICATION.md of atlas-session, section 9.
MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes, seconds and counts.

    `body_s`: for a request's body to arrive. `head_s`, `head_bytes`: for its head. `streams`, `streams_each`: streams of events,
    in all and of one caller. `comment_s`: how often a silent stream sends a comment. `send_s`: how long a stream waits for a
    client that does not read. `keys_s`: for how long the list of API keys is believed. `keys_again_s`: how soon an unknown key
    makes it be read again.
    """

    body_bytes: int = 1 << 20
    body_s: float = 10.0
    head_s: float = 10.0
    head_bytes: int = 64 * 1024
    streams: int = 4096
    streams_each: int = 64
    comment_s: float = 12.0
    send_s: float = 30.0
    keys_s: float = 5.0
    keys_again_s: float = 1.0
    connections: int = 8192
