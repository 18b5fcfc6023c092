"""The error tree. Every failure that leaves this package is one of these.

::

    AtlasError
    ├── ConfigError          kind=validation        a setting is missing, ambiguous or unsafe
    ├── InvalidSpec          kind=validation        input refused before any request; carries every failure
    ├── Unauthorized         kind=unauthorized      no key, or the key was refused
    ├── Forbidden            kind=forbidden         the key is good, the act is not allowed
    ├── NotFound             kind=not_found         the provider says there is no such thing
    ├── Conflict             kind=conflict          the thing's present state does not allow it
    │   └── WrongAccount     kind=conflict          the thing belongs to another account than the one asked
    ├── Unsupported          kind=unsupported       the provider lacks the ability; no request was sent
    ├── NoCapacity           kind=no_capacity       nothing of that kind is free now
    ├── InsufficientFunds    kind=insufficient_funds
    ├── RateLimited          kind=rate_limited      carries retry_after in seconds
    ├── TimedOut             kind=timeout           a wait of ours ended
    ├── TransportError       kind=transport         no answer, and the request had no effect or only read
    ├── ProviderFailure      kind=provider          the provider failed, or its answer makes no sense
    ├── UnknownOutcome       kind=unknown_outcome   a write may or may not have happened
    └── Interrupted          kind=interrupted       the operator stopped us; what was begun is recorded

`kind` is the closed vocabulary for programs; the class is for `except`. Messages never hold secrets: whoever raises
one has redacted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

__all__ = [
    "AtlasError",
    "ConfigError",
    "Conflict",
    "Failure",
    "Forbidden",
    "InsufficientFunds",
    "Interrupted",
    "InvalidSpec",
    "Kind",
    "NoCapacity",
    "NotFound",
    "ProviderFailure",
    "RateLimited",
    "TimedOut",
    "TransportError",
    "Unauthorized",
    "UnknownOutcome",
    "Unsupported",
    "WrongAccount",
]

Kind = Literal[
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "validation",
    "unsupported",
    "no_capacity",
    "insufficient_funds",
    "rate_limited",
    "timeout",
    "transport",
    "provider",
    "unknown_outcome",
    "interrupted",
]


@dataclass(frozen=True)
class Failure:
    """One thing wrong with an input: where (`env.PATH`, `ports[1]`), what, and how to mend it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return _printable(f"{where}{self.message}" + (f" ({self.hint})" if self.hint else ""))


def _printable(text: str) -> str:
    """A path may hold what a user wrote as a key: line breaks and the like are spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class AtlasError(Exception):
    """Base of all errors of this package. `retry_after` is in seconds; `status` is an HTTP status where there was one."""

    kind: ClassVar[Kind] = "provider"

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.operation = operation
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.hint = hint

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status is not None else ""
        return f"[{self.provider or 'atlas'}] {self.kind}{status}: {self.message}"

    def with_hint(self, hint: str) -> Self:
        """The same error, saying also how to mend it. Keeps a hint that is already there."""
        if not self.hint:
            self.hint = hint
        return self

    def one_line(self) -> str:
        """The error as one line for a terminal or the engine: text, then the hint."""
        text = " ".join(str(self).split("\n")).strip()
        return f"{text} — {self.hint}" if self.hint else text

    def as_json(self) -> dict[str, Any]:
        """The error for `--json`: only the fields that are known."""
        fields = {
            "kind": self.kind,
            "message": self.message,
            "provider": self.provider,
            "operation": self.operation,
            "status": self.status,
            "request_id": self.request_id,
            "retry_after": self.retry_after,
            "hint": self.hint or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class InvalidSpec(AtlasError):
    """Input was refused before any request was sent; `failures` names every property at fault, not just the first."""

    kind = "validation"

    def __init__(
        self, failures: Sequence[Failure], *, provider: str | None = None, operation: str | None = None
    ) -> None:
        self.failures = tuple(failures)
        super().__init__("; ".join(str(f) for f in self.failures), provider=provider, operation=operation)

    def under(self, prefix: str) -> InvalidSpec:
        """The same failures with `prefix` put before each path."""
        moved = [replace(f, path=f"{prefix}.{f.path}" if f.path else prefix) for f in self.failures]
        return InvalidSpec(moved, provider=self.provider, operation=self.operation)

    def as_json(self) -> dict[str, Any]:
        rows = [{"path": f.path, "message": f.message, "hint": f.hint} for f in self.failures]
        return {**super().as_json(), "failures": rows}


class ConfigError(AtlasError):
    """A setting is missing, ambiguous or unsafe; the message says which and names the ways out."""

    kind = "validation"


class Unauthorized(AtlasError):
    """No key, or the provider refused it."""

    kind = "unauthorized"


class Forbidden(AtlasError):
    """The key is good, but may not do this."""

    kind = "forbidden"


class NotFound(AtlasError):
    """The provider says that there is no such thing. Another account's key gets this answer for everything."""

    kind = "not_found"


class Conflict(AtlasError):
    """The present state of things does not allow the act."""

    kind = "conflict"


class WrongAccount(Conflict):
    """The thing was made in another account than the one that is asked now."""


class Unsupported(AtlasError):
    """The provider cannot do this. Raised before any request is sent; the message holds the reason."""

    kind = "unsupported"


class NoCapacity(AtlasError):
    """Nothing of the wanted kind is free now."""

    kind = "no_capacity"


class InsufficientFunds(AtlasError):
    """The account cannot pay for it."""

    kind = "insufficient_funds"


class RateLimited(AtlasError):
    """The provider asks us to slow down; see `retry_after` (seconds)."""

    kind = "rate_limited"


class TimedOut(AtlasError):
    """A wait of ours ended before what was waited for came true."""

    kind = "timeout"


class TransportError(AtlasError):
    """The provider could not be reached. Never means "gone"."""

    kind = "transport"


class ProviderFailure(AtlasError):
    """The provider failed, or answered something that makes no sense."""

    kind = "provider"


class UnknownOutcome(AtlasError):
    """A write was sent and its answer lost: it may have happened. Never retried blindly; the birth is looked for."""

    kind = "unknown_outcome"


class Interrupted(AtlasError):
    """The operator stopped us in the middle; what was begun is recorded and can be recovered."""

    kind = "interrupted"
