"""What `atlas drift` found: plain values, one item for each thing that is not simply as the state says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pulumi_atlas.ids import Birth, Owner

__all__ = ["DIFFERENCES", "Change", "DriftItem", "DriftReport", "Status"]

#: `changed`: properties differ. `stopped`: it is to run and does not. `finished`: its command ended well. `reaped`: its
#: lease ended. `reclaimed`: a spot machine that was taken back. `gone`: proven to be there no more. `leaked`: of this
#: stack's id and in no state. `unfinished`: begun by a run that ended. `in_progress`: a run is at work on it.
#: `unreachable`: could not be judged.
Status = Literal[
    "changed",
    "stopped",
    "finished",
    "reaped",
    "reclaimed",
    "gone",
    "leaked",
    "unfinished",
    "in_progress",
    "unreachable",
]

#: The statuses that ask for something to be done; the others are as they should be, or will be by themselves.
DIFFERENCES: frozenset[Status] = frozenset(
    {"changed", "stopped", "reclaimed", "gone", "leaked", "unfinished", "unreachable"}
)

#: Commands about a stack, in the words of `next`.
_OURS = re.compile(r"\batlas (drift|adopt-owner|release)\b")


@dataclass(frozen=True)
class Change:
    """One property (`image`, `env.A`, `workers.max`) as the state declares it and as it is. Secrets are `***`."""

    property: str
    declared: Any
    live: Any

    def as_json(self) -> dict[str, Any]:
        return {"property": self.property, "declared": self.declared, "live": self.live}


@dataclass(frozen=True)
class DriftItem:
    """One thing. `cost_per_hour` is what it costs now, in the account's currency; None when that is not known.

    `account`, `birth`, `owner` and `name` say which thing is meant when something is done about it; `let_go`: the state held
    it once, so it may have been kept on purpose; `by_hand`: only a person can end it. JSON does not hold these.
    """

    status: Status
    urn: str | None = None
    kind: str | None = None
    provider: str | None = None
    id: str | None = None
    changes: tuple[Change, ...] = ()
    cost_per_hour: float | None = None
    reason: str = ""
    next: str = ""
    account: str | None = None
    birth: Birth | None = None
    owner: Owner | None = None
    name: str = ""
    let_go: bool = False
    by_hand: bool = False

    def as_json(self) -> dict[str, Any]:
        plain = ("urn", "kind", "provider", "id", "status")
        return {
            **{name: getattr(self, name) for name in plain},
            "changes": [change.as_json() for change in self.changes],
            "cost_per_hour": self.cost_per_hour,
            "reason": self.reason,
            "next": self.next,
        }


@dataclass(frozen=True)
class DriftReport:
    """One look at one stack. `complete`: everything could be judged."""

    stack: str
    items: tuple[DriftItem, ...] = ()
    complete: bool = True

    @property
    def clean(self) -> bool:
        """Whether everything could be judged and nothing is left to do."""
        return self.complete and not any(item.status in DIFFERENCES for item in self.items)

    def of(self, *statuses: Status) -> tuple[DriftItem, ...]:
        """The items of some statuses."""
        return tuple(item for item in self.items if item.status in statuses)

    def addressed(self, options: str) -> DriftReport:
        """The report for a reader whose commands need options such as `--stack dev`: each command of ours gets them."""
        items = (
            replace(item, next=_OURS.sub(lambda command: f"{command[0]} {options}", item.next)) for item in self.items
        )
        return replace(self, items=tuple(items)) if options else self

    def as_json(self) -> Mapping[str, Any]:
        """The document that `atlas drift --json` prints; its schema is in docs/drift.md."""
        return {
            "stack": self.stack,
            "clean": self.clean,
            "complete": self.complete,
            "items": [item.as_json() for item in self.items],
        }
