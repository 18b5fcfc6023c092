"""One line for each request but touches and probes that went well: no query, no header, no body."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from pulumi_atlas.runtime.http.caller import Caller

__all__ = ["write"]

_log = logging.getLogger("pulumi_atlas.runtime.access")
_FREQUENT = frozenset({"POST /v1/sessions/{session_id}/touch", "GET /healthz", "GET /readyz", "GET /metrics"})
_MAX_PATH = 200


def write(route: str, scope: MutableMapping[str, Any], status: int, seconds: float, caller: Caller | None) -> None:
    """Write the line. `status` 0: the client left before the answer."""
    if route in _FREQUENT and status < 400:
        return
    level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
    if not _log.isEnabledFor(level):
        return
    path = "".join(char if char.isprintable() else "?" for char in str(scope["path"]))[:_MAX_PATH]
    who = "-" if caller is None else caller.actor
    client = (scope.get("client") or ("-",))[0]
    _log.log(level, "%s %s %d %.1fms %s %s", scope["method"], path, status, seconds * 1000, who, client)
