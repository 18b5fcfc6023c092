"""What a companion client raises.

::

    CompanionError
    ├── NoSuchSession    404         the companion knows no such session
    ├── SessionEnded     410         it has ended for good
    ├── NotAllowed       401, 403    the key is wrong, revoked, or not for this
    ├── Refused          other 4xx   the request is wrong, or the session's present state does not allow it
    ├── Busy             429, 503    not now; `retry_after_s` says when, where the companion said it
    ├── Unreachable                  no answer: network, TLS, time-out, or a gateway's 408, 502 or 504
    └── BadAnswer                    the companion failed (500 …), or what answered is not the companion

Arguments that cannot be sent are a ValueError, and a client that was closed is a RuntimeError: both before any request.
No error, `repr` or log line holds a key or token: what the server wrote is searched for them, and cut, before it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BadAnswer",
    "Busy",
    "CompanionError",
    "NoSuchSession",
    "NotAllowed",
    "Refused",
    "SessionEnded",
    "Unreachable",
]


class CompanionError(Exception):
    """Base of what a companion client raises.

    `status`: the HTTP status, None without an answer. `problem`: the fields of RFC 9457 that the companion gave
    (``type``, ``title``, ``detail``, ``instance``), as text. `hint`: what to do about it, or nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        problem: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.problem = dict(problem or {})
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class NoSuchSession(CompanionError):
    """The companion knows no such session."""


class SessionEnded(CompanionError):
    """The session has ended for good."""


class NotAllowed(CompanionError):
    """The key is wrong, revoked, or not for this."""


class Refused(CompanionError):
    """The request is wrong, or the session's present state does not allow it."""


class Busy(CompanionError):
    """The companion cannot do it now. `retry_after_s`: seconds until it may, where it said so."""

    retry_after_s: float | None = None


class Unreachable(CompanionError):
    """There was no answer. `sent`: whether the request may have arrived, so that it may have been done."""

    sent: bool = True


class BadAnswer(CompanionError):
    """The companion failed, or what answered makes no sense: not the companion, a redirect, too long, not its JSON."""
