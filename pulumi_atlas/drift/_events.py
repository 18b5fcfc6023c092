"""What the engine saw of each resource: read from the event log of a `refresh --preview-only`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Refresh", "Seen", "read_deletions", "read_events"]

#: `refresh` is the engine's word for an update without details.
_OPERATIONS = {"same": "same", "update": "update", "refresh": "update", "delete": "delete"}

#: What the engine puts before an error of ours.
_PREFIXES = ("Preview failed: ", "atlas: ")


@dataclass(frozen=True)
class Seen:
    """One resource. `declared`, `before`: inputs and outputs in the state; `live`, `after`: as they are. `paths`: what differs.

    Secrets are blinded by the engine.
    """

    urn: str
    operation: Literal["same", "update", "delete"]
    id: str = ""
    declared: Mapping[str, Any] = field(default_factory=dict)
    live: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refresh:
    """What was seen, and what could not be, by URN. A URN in neither was not looked at. `program`: why it failed, if it did."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    program: str = ""

    def joined(self, later: Refresh) -> Refresh:
        """With what a second look saw; what the first one saw stays."""
        return Refresh({**later.seen, **self.seen}, {**later.failed, **self.failed}, self.program or later.program)


def read_events(lines: Iterable[str]) -> Refresh:
    """The log's lines as values. A line that a killed engine left half written is passed over."""
    seen: dict[str, Seen] = {}
    failed: dict[str, str] = {}
    program = ""
    for event in _parsed(lines):
        told = event.get("resOutputsEvent")
        diagnostic = event.get("diagnosticEvent")
        if isinstance(told, Mapping):
            one = _seen(told.get("metadata"))
            if one is not None:
                seen.setdefault(one.urn, one)
        elif isinstance(diagnostic, Mapping) and diagnostic.get("severity") == "error":
            if diagnostic.get("urn"):
                failed.setdefault(str(diagnostic["urn"]), _message(diagnostic.get("message")))
            else:
                program = program or _end_of_program(str(diagnostic.get("message") or ""))
    return Refresh({urn: one for urn, one in seen.items() if urn not in failed}, failed, program)


def _end_of_program(said: str) -> str:
    """The last line of the traceback with which the program ended; empty when it is about something else."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines and lines[0].startswith("Program failed") else ""


def read_deletions(lines: Iterable[str]) -> frozenset[str]:
    """URNs of what an update would delete, from the event log of a preview; not those that would be replaced."""
    told = (event.get("resourcePreEvent") for event in _parsed(lines))
    steps = (one.get("metadata") or {} for one in told if isinstance(one, Mapping))
    return frozenset(str(step.get("urn")) for step in steps if step.get("op") == "delete")


def _parsed(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _seen(metadata: Any) -> Seen | None:
    if not isinstance(metadata, Mapping) or metadata.get("op") not in _OPERATIONS:
        return None
    old, new = metadata.get("old") or {}, metadata.get("new") or {}
    paths = metadata.get("detailedDiff") or {}
    return Seen(
        urn=str(metadata.get("urn")),
        operation=_OPERATIONS[metadata["op"]],  # type: ignore[arg-type]
        id=str(old.get("id") or ""),
        declared=old.get("inputs") or {},
        live=new.get("inputs") or {},
        before=old.get("outputs") or {},
        after=new.get("outputs") or {},
        paths=tuple(paths),
    )


def _message(text: Any) -> str:
    said = " ".join(str(text or "").split())
    for prefix in _PREFIXES:
        said = said.removeprefix(prefix)
    return said
