"""Values for tests of stores, and a second process that works on one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.runtime.store.contract import AccessKey, Answered, BirthNote, Store

#: Name → makes a store in a folder; called twice with one folder, it is the same store. PostgreSQL will be a second line.
IMPLEMENTATIONS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: open_store(f"sqlite:///{folder / 'store' / 'atlas.db'}"),
}

NOW = 1_800_000_000.0


def a_session(ident: str = "s1", **changed: Any) -> Session:
    plain = Session(
        id=ident,
        state="ready",
        provider="local",
        idle_ttl_s=900.0,
        max_lifetime_s=None,
        warn_before_s=60.0,
        on_idle="stop",
        paused_ttl_s=3600.0,
        budget=None,
        created_at=NOW,
    )
    return replace(plain, **changed)


def a_full_session(ident: str = "full") -> Session:
    """No field is empty, None or its default."""
    whole = a_session(
        ident,
        state="paused", version=7, generation=3, owner="ö/1", template="gpu", labels={"team": "é\u2028 \"x\""},
        account="a", identity="acct-1", spec={"image": "x", "ports": ["80/http"], "n": 1.5, "deep": {"a": [None, True]}},
        sealed_env=b"\x00sealed\xff", auth="signed_url", ready_timeout_s=5.5, birth="b" * 20, pod_id="p-1",
        urls={"80": "https://x/"}, max_lifetime_s=60.5, on_idle="terminate", budget=2.5, ready_at=NOW + 1,
        active_at=NOW + 2, active_source="http", touches=2**40, keep_until=NOW + 3, expires_at=NOW + 4,
        paused_at=NOW + 5, ended_at=NOW + 6, warned="idle:1", cost_settled=0.1, cost_per_hour=0.30000000000000004,
        cost_since=NOW + 7, outcome="failed", cause="pause", reason="why", attempts=3, next_attempt_at=NOW + 8,
        token_hash="t" * 64, touch_hash="u" * 64, guard_hash="g" * 64,
    )  # fmt: skip
    empty = [one.name for one in fields(Session) if getattr(whole, one.name) in (None, "", 0, {})]
    assert not empty, empty
    return whole


def an_event(session_id: str | None = "s1", **changed: Any) -> SessionEvent:
    plain = SessionEvent(at=NOW, session_id=session_id, kind="status", actor="companion", cause="opened")
    return replace(plain, **changed)


def a_birth(digit: str = "1", **changed: Any) -> BirthNote:
    plain = BirthNote(digit * 20, "s1", "local", None, None, "open", NOW)
    return replace(plain, **changed)


def an_answer(key: str = "k", **changed: Any) -> Answered:
    return replace(Answered("caller", key, "body", "s1", NOW), **changed)


def a_key(ident: str = "key1", **changed: Any) -> AccessKey:
    return replace(AccessKey(ident, f"hash-of-{ident}", "backend", "a name", NOW), **changed)


def numbers(events: Any) -> list[int]:
    return [event.number for event in events]


def in_another_process(program: str, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Run Python code with `sys.argv[1:]` there. Its first line on standard output can be waited for."""
    kit = Path(__file__).parent
    path = os.pathsep.join([str(kit), *(one for one in sys.path if one)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
