"""The secrets that a webhook's messages are signed with; several while one is replaced."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook as Signer

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.settings import Webhook

__all__ = ["Secrets"]

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


class Secrets:
    """Signs. Shows no secret in any representation; `texts` is for whoever keeps them out of logs."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        self._signers = tuple(Signer(text) for text in texts)

    def __repr__(self) -> str:
        return f"Secrets({len(self.texts)})"

    @classmethod
    def of(cls, name: str, hook: Webhook, environ: Mapping[str, str]) -> Secrets:
        """From where the settings say. Raises ConfigError, without the secret."""
        try:
            if hook.secret_env is not None:
                text = environ.get(hook.secret_env, "")
            else:
                text = Path(hook.secret_file or "").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"the secret of webhook {name} cannot be read") from None
        found = tuple(part.strip() for part in text.strip().split(",") if part.strip())
        if not found:
            raise ConfigError(f"webhook {name} has no secret: what its settings name is empty")
        if not all(_is_secret(one) for one in found):
            what = f"{_PREFIX} and Base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes"
            raise ConfigError(f"a secret of webhook {name} is none of Standard Webhooks: {what}")
        return cls(found)

    def headers(self, message_id: str, body: str, *, now: float) -> dict[str, str]:
        """The three headers of an attempt at `now` (unix seconds)."""
        at = datetime.fromtimestamp(int(now), UTC)
        signatures = " ".join(signer.sign(message_id, at, body) for signer in self._signers)
        return {"webhook-id": message_id, "webhook-timestamp": str(int(now)), "webhook-signature": signatures}


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(_PREFIX) and _LEAST_BYTES <= len(key) <= _MOST_BYTES
