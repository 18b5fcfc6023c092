"""Failures on demand: which operation fails next, how, and whether its effect happens first."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pulumi_atlas.errors import (
    AtlasError,
    ConfigError,
    Conflict,
    Failure,
    Forbidden,
    InsufficientFunds,
    Interrupted,
    InvalidSpec,
    Kind,
    NoCapacity,
    NotFound,
    ProviderFailure,
    RateLimited,
    TimedOut,
    TransportError,
    Unauthorized,
    UnknownOutcome,
    Unsupported,
)
from pulumi_atlas.providers.mock._state import PROVIDER, Row, State

__all__ = ["ANY", "OPERATIONS", "READS", "as_error", "make", "match", "take"]

#: Stands for every operation.
ANY = "*"

READS: frozenset[str] = frozenset(
    {
        "endpoint_health",
        "get_compute",
        "get_endpoint",
        "get_job",
        "get_volume",
        "identity",
        "list_compute",
        "list_endpoints",
        "list_offers",
        "list_volumes",
        "logs",
        "stream_job",
    }
)

OPERATIONS: frozenset[str] = READS | {
    "cancel_job",
    "create_compute",
    "create_endpoint",
    "create_volume",
    "delete_endpoint",
    "delete_volume",
    "retag",
    "run_job",
    "start",
    "stop",
    "terminate",
    "update_compute",
    "update_endpoint",
    "update_volume",
}

_CLASSES: Mapping[str, type[AtlasError]] = {
    c.kind: c
    for c in (
        Conflict,
        Forbidden,
        InsufficientFunds,
        Interrupted,
        NoCapacity,
        NotFound,
        ProviderFailure,
        RateLimited,
        TimedOut,
        TransportError,
        Unauthorized,
        UnknownOutcome,
        Unsupported,
    )
}


def make(
    operation: str,
    kind: str | None,
    *,
    times: int | None,
    after_effect: bool,
    message: str | None,
    retry_after: float | None,
    on: str | None,
) -> Row:
    """A fault as a row. Raises ConfigError for an unknown operation or kind."""
    _check("operation", operation, OPERATIONS | {ANY})
    if kind is not None:
        _check("kind of error", kind, frozenset(get_args(Kind)))
    if times is not None and times < 1:
        raise ConfigError(f"a fault happens at least once, not {times} times", provider=PROVIDER, hint="None: for ever")
    return {
        "operation": operation,
        "kind": kind,
        "left": times,
        "after_effect": after_effect,
        "message": message,
        "retry_after": retry_after,
        "on": on,
    }


def match(state: State, operation: str, arguments: Mapping[str, Any]) -> Row | None:
    """The first fault that waits for this call."""
    for fault in state.faults:
        if fault["operation"] in (operation, ANY) and (fault["on"] is None or fault["on"] in arguments.values()):
            return fault
    return None


def take(state: State, operation: str, arguments: Mapping[str, Any]) -> Row | None:
    """As `match`, and counts the fault down."""
    fault = match(state, operation, arguments)
    if fault is not None and fault["left"] is not None:
        left = fault["left"] - 1
        place = state.faults.index(fault)
        state.faults[place : place + 1] = [{**fault, "left": left}] if left else []
        state.changed = True
    return fault


def as_error(fault: Row, operation: str) -> AtlasError:
    """The error that the caller gets. Without a kind it is a lost answer: of a write, its outcome is unknown."""
    kind = fault["kind"] or ("transport" if operation in READS else "unknown_outcome")
    message = fault["message"] or f"injected: {kind} in {operation}" + (
        ", the answer was lost" if fault["after_effect"] else ""
    )
    if kind == "validation":
        return InvalidSpec([Failure("", message)], provider=PROVIDER, operation=operation)
    return _CLASSES[kind](
        message,
        provider=PROVIDER,
        operation=operation,
        retry_after=fault["retry_after"],
        hint="this failure was put there by World.fail_next",
    )


def _check(what: str, value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, sorted(allowed), n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(
            f"there is no {what} '{value}'", provider=PROVIDER, hint=f"{guess}known: {', '.join(sorted(allowed))}"
        )
