"""Waits until a session is in the state that was asked for, and says why when it never will be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pulumi_atlas.cli._companion import MOST_WAIT_S, Companion
from pulumi_atlas.cli._output import Out
from pulumi_atlas.errors import Conflict, ProviderFailure, TimedOut

__all__ = ["until_settled"]

FINAL = frozenset({"terminated", "failed"})
GONE = FINAL | {"terminating", "irrevocable"}
#: How often a state is asked for that the companion itself does not wait for.
POLL_S = 0.5


def until_settled(
    out: Out,
    companion: Companion,
    row: dict[str, Any],
    *,
    to: str,
    timeout_s: float,
    clock: Callable[[], float],
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The session once its state is `to`. Raises Conflict when it went another way, ProviderFailure when its pod does not
    go away or was never usable, TimedOut after `timeout_s` seconds; each names the session."""
    ident, end = row["id"], clock() + timeout_s
    with out.progress(f"waiting for session {ident}") as say:
        while True:
            say(row["status"])
            if row["status"] == to or (to == "terminated" and row["status"] in FINAL):
                return row
            _refuse_other_ways(row, to)
            left = end - clock()
            if left <= 0:
                hint = f"it goes on; `atlas session show {ident}` shows how far it is, `atlas session close {ident}` ends it"
                raise TimedOut(f"session {ident} is still {row['status']} after {timeout_s:g} s", hint=hint)
            if to == "ready":
                wait_s = round(max(1.0, min(left, MOST_WAIT_S)))
                row = {**row, **companion.get(f"/v1/sessions/{ident}", wait="ready", timeout_s=wait_s)}
            else:
                pause(min(left, POLL_S))
                row = {**row, **companion.get(f"/v1/sessions/{ident}")}


def _refuse_other_ways(row: dict[str, Any], to: str) -> None:
    ident, state = row["id"], row["status"]
    why = f": {row['reason']}" if row.get("reason") else f" ({row['cause']})" if row.get("cause") else ""
    if state == "irrevocable":
        hint = "it costs money and is asked again for ever; `atlas runtime irrevocable` lists it"
        raise ProviderFailure(f"the pod of session {ident} does not go away{why}", hint=hint)
    if to != "terminated" and state in GONE:
        raise ProviderFailure(f"session {ident} has ended{why}", hint=f"`atlas runtime events {ident}` tells its story")
    if (to, state) in (("paused", "ready"), ("ready", "paused")) and row.get("cause") not in ("pause", "resume"):
        raise Conflict(f"session {ident} is {state}{why}", hint=f"`atlas runtime events {ident}` tells its story")
