"""Does a pod's port answer? A TCP connect, or a GET when a path is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from pulumi_atlas.models import Compute

__all__ = ["answers"]

_TIMEOUT_S = 3.0


async def answers(pod: Compute, port: int, path: str | None) -> bool:
    """Whether the pod's `port` accepts a connection, or answers `GET path` with a status below 500."""
    url = pod.urls.get(str(port))
    if url is None:
        return False
    if path is not None:
        return await _get(url, path)
    parts = urlsplit(url)
    return await _connects(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


async def _connects(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _TIMEOUT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _get(url: str, path: str) -> bool:
    import httpx  # a tenth of a second, that most pods do not need

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as http:
            answer = await http.get(url.rstrip("/") + path)
    except httpx.HTTPError:
        return False
    return answer.status_code < 500
