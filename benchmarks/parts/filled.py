"""A store that is full of sessions, written through its contract."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from pulumi_atlas.models.session import Session
from pulumi_atlas.runtime.access import KeyRingFile
from pulumi_atlas.runtime.store import open_store

__all__ = ["fill", "ready_session"]

#: So many writes are on their way at once: the store makes several durable together.
_TOGETHER = 512


async def fill(path: Path, count: int, make: Callable[[int], Session]) -> None:
    """A store in that file, with a key ring beside it, as `serve` makes them, and `make(number)` in it for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    KeyRingFile.beside(path)
    store = open_store(f"sqlite:///{path}")
    await store.open(name="bench", now=time.time())
    try:
        numbers = iter(range(count))
        while piece := list(itertools.islice(numbers, _TOGETHER)):
            await asyncio.gather(*(store.add(make(number), ()) for number in piece))
        await store.flush((), now=time.time())
    finally:
        await store.aclose()


def ready_session(
    number: int,
    *,
    provider: str,
    now: float,
    idle_ttl_s: float = 900.0,
    warn_before_s: float = 60.0,
    pod_id: str | None = None,
    identity: str = "",
) -> Session:
    """A session as it is an hour after somebody opened it from a template and uses it: nothing of it is left out.

    Its touch token is "touch-" and its id.
    """
    ident = f"s-{number:08d}-7f3a9c2e"
    hashes = [hashlib.sha256(f"{purpose}-{ident}".encode()).hexdigest() for purpose in ("token", "touch", "guard")]
    pod = pod_id or f"pod-{number:08d}"
    return Session(
        id=ident,
        state="ready",
        version=4,
        owner=f"user-{number % 20_000}@example.org",
        template="studio",
        labels={"course": "introduction", "group": str(number % 40)},
        provider=provider,
        identity=identity or f"{provider}:account",
        spec={
            "provider": provider,
            "image": "example/studio:2026.1",
            "command": ["studio", "--port", "8000"],
            "ports": ["8000/http"],
            "gpu": "RTX 4090",
        },
        birth=f"b-{number:08d}-51d0c2",
        pod_id=pod,
        urls={"8000": f"https://{pod}-8000.example.net"},
        idle_ttl_s=idle_ttl_s,
        max_lifetime_s=86_400.0,
        warn_before_s=warn_before_s,
        on_idle="terminate",
        paused_ttl_s=7 * 86_400.0,
        budget=None,
        created_at=now - 3600,
        ready_at=now - 3550,
        active_at=now - number % 600,
        active_source="http",
        touches=120,
        expires_at=now + 82_800,
        cost_per_hour=0.69,
        cost_since=now - 3590,
        cause="usable",
        token_hash=hashes[0],
        touch_hash=hashes[1],
        guard_hash=hashes[2],
    )
