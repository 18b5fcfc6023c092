"""Bearer tokens: minted once, shown once, and verified by a hash that is safe to store (RFC 6750 says how they travel)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any, NamedTuple

from atlas_session._frame import b64url, frame
from atlas_session.errors import CannotSign
from atlas_session.keys import check_key, hkdf

__all__ = ["MintedToken", "hash_token", "is_token", "mint_token", "verify_token"]

_PREFIX = "atlas_"
_TOKEN = re.compile(r"atlas_[A-Za-z0-9_-]{43}")
_HASH = re.compile(r"[0-9a-f]{64}")


class MintedToken(NamedTuple):
    """`token`: 49 characters for the bearer's eyes only. `hash`: what verifies it, 64 characters of hex, no secret."""

    token: str
    hash: str

    def __repr__(self) -> str:
        return f"MintedToken(token='[secret]', hash='{self.hash}')"


def mint_token(*, key: bytes | None = None, context: bytes = b"") -> MintedToken:
    """A token of 256 bits: random, or with `key` (32 bytes or more) always the same one for that key and `context`.

    A token that is derived needs no storage: whoever holds the key can mint it again. Raises CannotSign when the key is
    too short, or when a context is given without a key.
    """
    if key is None:
        if context:
            raise CannotSign("a context is for derived tokens, and needs a key")
        data = secrets.token_bytes(32)
    else:
        check_key(key)
        data = hkdf(key, info=frame(b"atlas-session", b"bearer", b"1", context))
    token = _PREFIX + b64url(data)
    return MintedToken(token, hash_token(token))


def hash_token(token: str) -> str:
    """SHA-256 of the token's text, lower-case hex. No salt: the token is 256 random bits."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def is_token(text: Any) -> bool:
    """Whether a text has the form of our tokens; says nothing about whose it is."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def verify_token(token: Any, hash: Any) -> bool:
    """Whether the token is the one that the hash was made of. Compares in constant time, and never raises."""
    if not is_token(token) or not isinstance(hash, str) or _HASH.fullmatch(hash) is None:
        return False
    return hmac.compare_digest(hash_token(token), hash)
