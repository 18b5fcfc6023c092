"""What verification and signing raise.

AccessDenied            whoever asks may not come in; `str()` of it never says why, `reason` does, for the log
├── Malformed           not in the one form that is accepted
├── UnknownKey          the key id is none of those in force
├── BadSignature        was not signed with that key, or not for this scheme, host, path, query or address
├── Revoked             signed for another generation: rotated, resumed or ended since
├── Expired             too late
├── NotYetValid         too early
├── WrongMethod         signed for another method
└── AlreadyUsed         a single-use grant was used before
CannotSign (ValueError) the signer's own mistake, with a sentence that says which
CompanionError          what a companion client raises; its tree stands in `atlas_session.companion`
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AccessDenied",
    "AlreadyUsed",
    "BadSignature",
    "CannotSign",
    "Expired",
    "Malformed",
    "NotYetValid",
    "Revoked",
    "UnknownKey",
    "WrongMethod",
]


class AccessDenied(Exception):
    """Whoever asks may not come in.

    The text is the same for every cause, because it may reach the caller; `reason` (a word such as ``"expired"``) and
    `detail` (a few more, never a credential) are for the log.
    """

    reason: ClassVar[str] = "denied"

    def __init__(self, detail: str = "") -> None:
        super().__init__("access denied")
        self.detail = detail


class Malformed(AccessDenied):
    """Not in the one form that is accepted."""

    reason = "malformed"


class UnknownKey(AccessDenied):
    """The key id is none of those in force."""

    reason = "unknown_key"


class BadSignature(AccessDenied):
    """Not signed with that key, or not for this scheme, host, path, query or address."""

    reason = "bad_signature"


class Revoked(AccessDenied):
    """Signed for another generation."""

    reason = "revoked"


class Expired(AccessDenied):
    """Too late."""

    reason = "expired"


class NotYetValid(AccessDenied):
    """Too early."""

    reason = "not_yet_valid"


class WrongMethod(AccessDenied):
    """Signed for another method."""

    reason = "wrong_method"


class AlreadyUsed(AccessDenied):
    """A single-use grant that was used before, or that nobody here can tell to be unused."""

    reason = "already_used"


class CannotSign(ValueError):
    """The signer's own mistake: what was asked for cannot be signed. The text says which, without the key."""
