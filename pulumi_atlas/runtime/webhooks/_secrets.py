"""The secrets that a webhook's messages are signed with; several while one is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook as Signer

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.rules.sessions.webhook_secret import FORM, is_webhook_secret
from pulumi_atlas.runtime.settings import Webhook

__all__ = ["Secrets"]


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
        if not all(is_webhook_secret(one) for one in found):
            raise ConfigError(f"a secret of webhook {name} is none of Standard Webhooks: {FORM}")
        return cls(found)

    def headers(self, message_id: str, body: str, *, now: float) -> dict[str, str]:
        """The three headers of an attempt at `now` (unix seconds)."""
        at = datetime.fromtimestamp(int(now), UTC)
        signatures = " ".join(signer.sign(message_id, at, body) for signer in self._signers)
        return {"webhook-id": message_id, "webhook-timestamp": str(int(now)), "webhook-signature": signatures}
