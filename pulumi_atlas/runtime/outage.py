"""Which accounts of which providers do not answer now. While one is down, none of its sessions is ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pulumi_atlas.rules.sessions.lease import Moment
from pulumi_atlas.rules.sessions.outage import Health

__all__ = ["AccountKey", "Outage"]

_log = logging.getLogger(__name__)

#: A provider and one of its accounts (None: the default one).
AccountKey = tuple[str, str | None]


class Outage:
    """Told of each answer and each failure of a listing. `ended` are told when an account answers again; they do not block."""

    def __init__(self) -> None:
        self._health: dict[AccountKey, Health] = {}
        self.ended: list[Callable[[AccountKey, Moment], None]] = []

    def down(self, provider: str, account: str | None) -> str | None:
        """Why the account counts as down; None when it does not."""
        health = self._health.get((provider, account))
        return f"{provider} is down: {health.error}" if health is not None and health.down else None

    def failed(self, key: AccountKey, error: str, now: Moment, *, certain: bool = False) -> None:
        """It did not answer, or not sensibly. `certain`: one such failure is enough."""
        before = self._health.get(key, Health())
        after = self._health[key] = before.failed(error, now, certain=certain)
        if after.down and not before.down:
            _log.warning("provider %s (account %s) counts as down: %s", key[0], key[1] or "default", error)

    def answered(self, key: AccountKey, now: Moment) -> None:
        """It answered."""
        before = self._health.get(key, Health())
        self._health[key] = before.answers()
        if before.down:
            _log.info("provider %s (account %s) answers again", key[0], key[1] or "default")
            for listener in self.ended:
                listener(key, now)

    def status(self) -> list[dict[str, Any]]:
        """The accounts that are down: provider, account, since (unix seconds), failures, error."""
        return [
            {"provider": provider, "account": account, "since": h.since, "failures": h.failures, "error": h.error}
            for (provider, account), h in sorted(self._health.items(), key=lambda row: (row[0][0], row[0][1] or ""))
            if h.down
        ]
