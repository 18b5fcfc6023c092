"""What the report says: why, and the next command."""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "ADOPT_OWNER",
    "AGAIN",
    "CHANGED",
    "FINISHED",
    "FOREIGN",
    "LEAKED",
    "LEAKS",
    "LET_GO",
    "MOVED",
    "REAPED",
    "RECONCILE",
    "WAIT",
    "gone",
    "let_go",
    "reaped",
    "stopped",
    "terminate",
]

RECONCILE: Final = "atlas drift --reconcile"
CHANGED: Final = f"{RECONCILE}, or atlas drift --accept to keep the live values"
LEAKS: Final = f"{RECONCILE} --leaks terminate, or --leaks adopt to keep it"
AGAIN: Final = "atlas drift, when it answers again"
WAIT: Final = "atlas drift, when that run has ended"
FINISHED: Final = "nothing; change trigger= to run it again"
REAPED: Final = "nothing; the next session starts it"
ADOPT_OWNER: Final = "atlas adopt-owner, when this copy is the one that stays"

FOREIGN: Final = "look whether it is there, then pulumi refresh --clear-pending-creates"
MOVED: Final = "this state was moved or copied: another copy of it may own the same things"

LEAKED: Final = "it belongs to this stack, and no state holds it"
LET_GO: Final = "the state held it once and let it go (retain_on_delete, or pulumi state delete)"

_NOUNS = {"pod": "compute terminate", "volume": "volumes delete", "endpoint": "endpoints delete"}


def terminate(kind: str, ident: str | None, provider: str) -> str:
    """The command that ends a thing."""
    verb = _NOUNS.get(kind)
    return f"atlas {verb} {ident} --provider {provider}" if verb and ident else "remove it at the provider"


def let_go(kind: str, ident: str, provider: str) -> str:
    """What to do about a thing that the state gave up on purpose."""
    return f"atlas release {ident} --provider {provider}, or {terminate(kind, ident, provider)}"


def reaped(reason: Any) -> str:
    """Why its lease ended."""
    return str(reason) if reason else "its lease ended"


def stopped(status: str, live: str, reason: Any) -> str:
    """Why something that is to run does not."""
    if status == "reclaimed":
        return str(reason) if reason else "a spot machine that was taken back"
    return f"it is to run, and is {live}" + (f": {reason}" if reason else "")


def gone(status: str, reason: str) -> str:
    """How it is known to be there no more."""
    if reason:
        return reason
    if status == "reclaimed":
        return "a spot machine that is there no more: most likely it was taken back"
    return "the provider does not find it, and a complete list lacks it"
