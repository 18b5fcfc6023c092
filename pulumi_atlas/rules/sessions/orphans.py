"""May a pod that carries our deployment's name, and that no session seems to want, be removed?

The journal is written before anything is rented. So a pod of ours whose birth the store does not know says that the *store*
is wrong (mistyped, restored, copied): it is shown to a person, and never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pulumi_atlas.models.session import SessionState

__all__ = ["Orphan", "Sighting", "judge_orphan", "seen_again"]

#: `foreign`: not ours, invisible. `wanted`: a session's. `unknown`: for a person. `wait`: not now. `would_sweep`: only told of.
Judgement = Literal["foreign", "wanted", "unknown", "wait", "would_sweep", "sweep"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """The judgement, and why it is so: a sentence for a person."""

    judgement: Judgement
    why: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """How often a pod was seen as nobody's, in complete listings far enough apart. Times are monotonic, `since` is wall time."""

    first: float
    last: float
    since: float
    times: int = 1


def seen_again(before: Sighting | None, *, mono: float, wall: float, apart_s: float) -> Sighting:
    """The sighting after another complete listing that began at `mono`. One that follows too soon counts for nothing."""
    if before is None:
        return Sighting(mono, mono, wall)
    if mono - before.last < apart_s:
        return before
    return Sighting(before.first, mono, before.since, before.times + 1)


def judge_orphan(
    *,
    ours: bool,
    noted: bool,
    same_account: bool,
    dead: bool,
    session: SessionState | None,
    wanted: bool,
    twin: bool = False,
    complete: bool,
    times: int,
    least_times: int,
    age_s: float | None,
    least_age_s: float,
    mode: Literal["off", "dry_run", "on"],
) -> Orphan:
    """What is to become of one pod of a listing.

    `ours`: its owner is our deployment. `noted`: the journal knows its birth, and `same_account`: as made in this account.
    `dead`: it is noted as not wanted any more, or as proven gone. `session`: the state of the session it was made for, None
    when there is no such row. `wanted`: that session is alive and holds this very birth,
    `twin`: with another pod. `age_s`: since it was made.
    """
    if not ours:
        return Orphan("foreign", "it is not ours")
    if twin:
        return Orphan("unknown", "its session has another pod of the same birth: it was rented twice")
    if wanted:
        return Orphan("wanted", "a session has it")
    if not noted:
        return Orphan("unknown", "this store has no note of it: is it the right store?")
    if not same_account:
        return Orphan("unknown", "this store noted it in another account")
    final = session in ("terminated", "failed")
    if not dead and not final:
        if session is None:
            return Orphan("unknown", "its session is not in this store")
        return Orphan("wanted", f"its session is {session}, and sees to it")
    over = f"its session is {session}" if final else "its session does not want it any more"
    return _in_time(over, complete, times, least_times, age_s, least_age_s, mode)


def _in_time(
    over: str, complete: bool, times: int, least_times: int, age_s: float | None, least_age_s: float, mode: str
) -> Orphan:
    if not complete:
        return Orphan("wait", f"{over}; the listing was not complete")
    if age_s is None or age_s < least_age_s:
        return Orphan("wait", f"{over}; it is younger than {least_age_s:g} s")
    if times < least_times:
        return Orphan("wait", f"{over}; seen {times} of {least_times} times")
    if mode != "on":
        return Orphan("would_sweep", f"{over}; orphan_sweep is {mode}")
    return Orphan("sweep", over)
