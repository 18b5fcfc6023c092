"""What verifies visitors at present: a value, replaced as a whole when the companion says so."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlas_session._frame import KEY_BYTES, unb64url
from atlas_session.tokens import hash_token, is_token

__all__ = ["MAX_POLL_S", "POLL_S", "Verifier", "parse_answer", "url_key"]

#: How often the companion is asked, seconds, where it does not say; and the most it may say: beyond this, what was
#: revoked would not be shut out within 30 seconds.
POLL_S = 10.0
MAX_POLL_S = 15.0
MIN_POLL_S = 1.0

_HASH = re.compile(r"[0-9a-f]{64}")
_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """Hashes of tokens (hex), keys of signed URLs by key id, the generation; `revoked`: nobody is let in any more."""

    hashes: frozenset[str] = frozenset()
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    generation: int = 0
    revoked: bool = False

    def match(self, token: str) -> str | None:
        """The hash of the token if it is one of ours. Every hash is compared, whichever fits."""
        if self.revoked or not is_token(token):
            return None
        computed, found = hash_token(token), False
        for known in self.hashes:
            found |= hmac.compare_digest(computed, known)
        return computed if found else None


def is_hash(text: Any) -> bool:
    """Whether it is a SHA-256 in lower-case hex."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def url_key(kid: Any, text: Any) -> tuple[str, bytes]:
    """Key id and key of its base64url. Raises ValueError, which never quotes the key."""
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None or not isinstance(text, str) or not text.isascii():
        raise ValueError("a key id has 1 to 32 letters, digits, dashes or underscores")
    try:
        key = unb64url(text)
    except ValueError:
        raise ValueError("a key is unpadded base64url") from None
    if len(key) < KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes or more")
    return kid, key


def parse_answer(body: bytes) -> tuple[Verifier, float]:
    """The companion's answer as a verifier, and how often to ask, seconds.

    Raises ValueError for everything that is not exactly such an answer: half an answer never becomes an empty verifier.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is no JSON") from None
    if not isinstance(given, dict):
        raise ValueError("the answer is no JSON object")
    generation, hashes, keys, revoked = map(given.get, ("generation", "token_hashes", "url_keys", "revoked"))
    if type(generation) is not int or not 0 <= generation < 10**12:
        raise ValueError("the answer has no generation")
    if not isinstance(hashes, list) or not all(map(is_hash, hashes)):
        raise ValueError("the answer's token_hashes are no list of hashes")
    if not isinstance(keys, dict):
        raise ValueError("the answer's url_keys are no object")
    if not isinstance(revoked, bool):
        raise ValueError("the answer does not say whether access is revoked")
    parsed = dict(url_key(kid, text) for kid, text in keys.items())
    return Verifier(frozenset(hashes), parsed, generation, revoked), _poll_s(given.get("poll_s"))


def _poll_s(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
        return POLL_S  # also where it is not a number; math.isnan would raise where it is too large for a float
    return float(min(max(given, MIN_POLL_S), MAX_POLL_S))
