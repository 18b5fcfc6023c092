"""The message that is signed: each field with its length before it, so that no two lists of fields give the same bytes."""

from __future__ import annotations

import base64
import binascii
import hmac
from functools import lru_cache

__all__ = ["KEY_BYTES", "b64url", "frame", "mac", "unb64url"]

#: The shortest key that is accepted: as long as the hash, RFC 2104 section 3.
KEY_BYTES = 32

_URLSAFE = bytes.maketrans(b"+/", b"-_")


def frame(*fields: bytes) -> bytes:
    """Netstrings, one after another: ``3:abc,`` for ``abc``."""
    return b"".join([b"%d:%b," % (len(field), field) for field in fields])


def mac(key: bytes, message: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) as 43 characters of unpadded base64url."""
    state = _begun(key).copy()
    state.update(message)
    return b64url(state.digest())


@lru_cache(maxsize=64)
def _begun(key: bytes) -> hmac.HMAC:
    """The state after the key alone. Looking up the hash and hashing the key is most of the work for a short message."""
    return hmac.new(key, digestmod="sha256")


def b64url(data: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_URLSAFE, b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """The reverse, for exactly what `b64url` gives. Raises ValueError for any other text."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if b64url(data) != text:
        raise ValueError("not unpadded base64url in its one spelling")
    return data
