"""The log tells what happens to sessions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.runtime.chronicle import chronicle
from pulumi_atlas.runtime.logs import configure

SESSION = Session(
    id="s1", state="ready", owner="ada", provider="mock", pod_id="p1", idle_ttl_s=60, max_lifetime_s=None,
    warn_before_s=5, on_idle="terminate", paused_ttl_s=60, budget=None, created_at=1.0, touch_hash="x" * 64,
)  # fmt: skip


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs = configure("json", stream=stream)
    yield stream
    logs.close()


def event(kind: str, cause: str, **data: object) -> SessionEvent:
    return SessionEvent(number=7, at=1.0, session_id="s1", kind=kind, actor="reaper", cause=cause, data=dict(data))


def test_each_event_is_one_line_with_its_session_cause_and_actor(stream: io.StringIO) -> None:
    ended = event("status", "idle", state="terminating", reason="nobody used it")
    chronicle(SESSION, [event("warning", "idle", warned_of="idle"), ended])
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first["event"] == "session warning"
    assert first["deadline"] == "idle"
    told = ("level", "event", "session", "owner", "provider", "pod", "cause", "actor", "reason", "number")
    assert [second[name] for name in told] == [
        *("info", "session terminating", "s1", "ada", "mock", "p1", "idle", "reaper", "nobody used it", 7)
    ]


@pytest.mark.parametrize("state", ["failed", "irrevocable"])
def test_what_somebody_may_have_to_look_at_is_a_warning(stream: io.StringIO, state: str) -> None:
    chronicle(replace(SESSION, owner=None), [event("status", "not_confirmed", state=state)])
    line = json.loads(stream.getvalue())
    assert (line["level"], "owner" in line) == ("warning", False)
