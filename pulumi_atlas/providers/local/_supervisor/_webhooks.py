"""Telling a URL of the caller's that a job has ended: three tries, and only a 200 counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from pulumi_atlas.providers.local._supervisor._job import Job

__all__ = ["Webhooks", "problem_with"]

_TRIES = 3
_TIMEOUT_S = 10.0
_log = logging.getLogger("atlas.endpoint")


def problem_with(url: object) -> str:
    """Why this cannot be a webhook; empty when it can."""
    if not isinstance(url, str) or len(url) > 2048:
        return "webhook must be a URL of at most 2048 characters"
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        return "webhook is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good:
        return "webhook must be an http or https URL with a host"
    return ""


class Webhooks:
    """Deliveries under way. A job's delivery happens once at a time; `delivered` is called when no try is left to make."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def send(self, job: Job, delivered: Callable[[str], None]) -> None:
        if job.id in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(job))
        self._tasks[job.id] = task

        def done(ended: asyncio.Task[None]) -> None:
            self._tasks.pop(job.id, None)
            if not ended.cancelled():
                delivered(job.id)

        task.add_done_callback(done)

    async def close(self) -> None:
        """Give what is under way a moment, then leave it to the next run."""
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, job: Job) -> None:
        import httpx  # here, because few endpoints need it and it is slow to load

        assert job.webhook is not None
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S, follow_redirects=False) as client:
            for left in reversed(range(_TRIES)):
                try:
                    answer = await client.post(job.webhook, json=job.answer())
                    if answer.status_code == 200:
                        return
                    problem = f"HTTP {answer.status_code}"
                except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                    problem = type(error).__name__
                _log.warning("the webhook of job %s failed (%s), %d tries left", job.id, problem, left)
                if left:
                    await asyncio.sleep(self._delay_s)
