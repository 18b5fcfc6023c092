"""Keys: one master key for a companion, rotated with overlap, from which each session's keys and tokens are derived."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from atlas_session._frame import KEY_BYTES, b64url, frame, unb64url
from atlas_session.errors import CannotSign

__all__ = ["KeyRing", "MasterKey", "Purpose", "check_key", "check_kid", "derive_key", "hkdf"]

#: What a key or token is for. One that was derived for one purpose verifies nothing else.
Purpose = Literal["url", "bearer", "touch", "guard"]

_SALT = b"atlas-session"
_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")


def check_key(key: Any) -> None:
    """Raises CannotSign when this is no key of 32 bytes or more."""
    if not isinstance(key, bytes):
        raise CannotSign("a key must be bytes")
    if len(key) < KEY_BYTES:
        raise CannotSign(f"the key has {len(key)} bytes; {KEY_BYTES} are the least")


def check_kid(kid: Any) -> None:
    """Raises CannotSign when this is no key id."""
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise CannotSign("a key id has 1 to 32 letters, digits, dashes or underscores")


def hkdf(key: bytes, *, info: bytes, salt: bytes = _SALT, length: int = 32) -> bytes:
    """HKDF-SHA256, RFC 5869: extract, then expand to `length` bytes (at most 8160; CannotSign beyond)."""
    if not 0 < length <= 255 * 32:
        raise CannotSign("HKDF-SHA256 gives 1 to 8160 bytes")
    pseudorandom = hmac.digest(salt or bytes(32), key, "sha256")
    block, out = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes((counter,)), "sha256")
        out += block
    return out[:length]


def derive_key(master: bytes, *, purpose: Purpose, session_id: str, generation: int = 0) -> bytes:
    """The 32-byte key of one session, purpose and generation. Raises CannotSign when the master key is under 32 bytes."""
    check_key(master)
    return hkdf(master, info=_info(purpose, session_id, generation))


def _info(purpose: Purpose, session_id: str, generation: int) -> bytes:
    return frame(b"atlas-session", b"key", b"1", purpose.encode(), session_id.encode(), b"%d" % generation)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key with its id. `retires_at`: unix seconds after which it verifies nothing; None while it is the newest."""

    kid: str
    secret: bytes = field(repr=False)
    retires_at: int | None = None

    def __post_init__(self) -> None:
        check_kid(self.kid)
        check_key(self.secret)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys, the newest first: it signs, and all that have not retired verify. Immutable; `rotated` gives the next.

    Rotate with an overlap that is as long as the longest grant: then nothing that was handed out breaks.
    """

    keys: tuple[MasterKey, ...]

    def __post_init__(self) -> None:
        kids = [key.kid for key in self.keys]
        if not kids or len(set(kids)) != len(kids):
            raise CannotSign("a key ring needs at least one key, and each key id once")
        if self.current.retires_at is not None:
            raise CannotSign("the first key of a ring signs, so it cannot be one that retires")

    @classmethod
    def new(cls) -> KeyRing:
        """A ring of one random key."""
        return cls((_fresh(),))

    @property
    def current(self) -> MasterKey:
        """The key that signs."""
        return self.keys[0]

    def rotated(self, *, now: float, overlap_s: float) -> KeyRing:
        """A new random key first; the one before it verifies for `overlap_s` seconds more; what has retired is left out."""
        if overlap_s < 0:
            raise CannotSign("an overlap is 0 seconds or more")
        last, *older = self.keys
        retiring = replace(last, retires_at=int(now + overlap_s))
        return KeyRing((_fresh(), *(key for key in (retiring, *older) if _is_alive(key, now))))

    def alive(self, now: float) -> Iterator[MasterKey]:
        """The keys that verify at `now`, the newest first."""
        return (key for key in self.keys if _is_alive(key, now))

    def sign_with(self, session_id: str, *, generation: int = 0) -> tuple[str, bytes]:
        """Key id and key for `sign_url` and `sign_path`."""
        return self.current.kid, self._url_key(self.current, session_id, generation)

    def url_keys(self, session_id: str, *, generation: int = 0, now: float) -> dict[str, bytes]:
        """What verifies the URLs of one session: key id → key."""
        return {key.kid: self._url_key(key, session_id, generation) for key in self.alive(now)}

    def derived(self, purpose: Purpose, session_id: str, *, generation: int = 0, now: float) -> dict[str, bytes]:
        """The keys of one purpose, for `mint_token(key=…)`: key id → key, the newest first."""
        found = self.alive(now)
        return {
            k.kid: derive_key(k.secret, purpose=purpose, session_id=session_id, generation=generation) for k in found
        }

    @staticmethod
    def _url_key(key: MasterKey, session_id: str, generation: int) -> bytes:
        return derive_key(key.secret, purpose="url", session_id=session_id, generation=generation)

    def to_json(self) -> str:
        """As one JSON text, for a file that only its owner can read: it holds the keys."""
        rows = [{"kid": key.kid, "key": b64url(key.secret), "retires_at": key.retires_at} for key in self.keys]
        return json.dumps({"version": 1, "keys": rows})

    @classmethod
    def from_json(cls, text: str) -> KeyRing:
        """The reverse. Raises CannotSign, without quoting the text, when it is not such a ring."""
        try:
            ring = json.loads(text)
            if ring["version"] != 1:
                raise CannotSign("a key ring of this version is not known here")
            return cls(tuple(_from_row(row["kid"], row["key"], row["retires_at"]) for row in ring["keys"]))
        except CannotSign:
            raise
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CannotSign("this is no key ring: a JSON text as `to_json` gives it is expected") from None


def _fresh() -> MasterKey:
    return MasterKey(secrets.token_hex(4), secrets.token_bytes(KEY_BYTES))


def _from_row(kid: Any, key: Any, retires_at: Any) -> MasterKey:
    if retires_at is not None and type(retires_at) is not int:
        raise TypeError("unix seconds are a whole number")
    return MasterKey(kid, unb64url(key), retires_at)


def _is_alive(key: MasterKey, now: float) -> bool:
    return key.retires_at is None or now < key.retires_at
