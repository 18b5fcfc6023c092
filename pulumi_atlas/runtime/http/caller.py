"""Who asks. Only hashes are kept and compared."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from pulumi_atlas.models.session import Session
from pulumi_atlas.runtime.http.roles import Role
from pulumi_atlas.runtime.ledger import Live

__all__ = ["Caller", "bearer_hash", "caller_of_session"]

_MAX_BEARER = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and as what. `ident`: the key's id, or the session's. `hash`: of what was presented."""

    role: Role
    ident: str
    hash: str

    @property
    def actor(self) -> str:
        """How events name it."""
        return self.role if self.role in ("session", "guard") else f"key:{self.ident}"

    @property
    def is_of_session(self) -> bool:
        return self.role in ("session", "guard")


def bearer_hash(authorization: bytes) -> str | None:
    """SHA-256 (hex) of the bearer's text; None when the header holds none."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not 0 < len(token) <= _MAX_BEARER or b" " in token:
        return None
    return hashlib.sha256(token).hexdigest()


def caller_of_session(known: Live | Session, presented: str) -> Caller | None:
    """Who that is, when it is the session's touch token or guard key. Both are compared, whichever fits."""
    as_user = hmac.compare_digest(presented, known.touch_hash)
    as_guard = hmac.compare_digest(presented, known.guard_hash)
    if as_user:
        return Caller("session", known.id, presented)
    return Caller("guard", known.id, presented) if as_guard else None
