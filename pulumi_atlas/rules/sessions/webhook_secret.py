"""What a secret of Standard Webhooks looks like (specification, "Signature scheme": symmetric secrets)."""

from __future__ import annotations

import base64
import binascii

__all__ = ["FORM", "PREFIX", "is_webhook_secret"]

PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64

#: Its form in words.
FORM = f"{PREFIX} and Base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes"


def is_webhook_secret(text: str) -> bool:
    """Whether a text is one."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and _LEAST_BYTES <= len(key) <= _MOST_BYTES
