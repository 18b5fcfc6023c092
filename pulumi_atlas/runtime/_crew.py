"""Everything that runs besides the workers: deadlines, inspection, the sweep, flushing, webhooks, forgetting.

Each runs for ever. One that breaks is begun again after a while; until it has run for a while, that is told of in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from pulumi_atlas import failpoints
from pulumi_atlas.client.core import Core
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.freeze import STARTING, STORE_NOT_CONFIRMED, Freeze
from pulumi_atlas.runtime._calls import Calls
from pulumi_atlas.runtime._lister import Lister
from pulumi_atlas.runtime._pausing import BackOff, is_cancelled
from pulumi_atlas.runtime.inspector import Inspector
from pulumi_atlas.runtime.keeping import Keeping
from pulumi_atlas.runtime.killing import Gate
from pulumi_atlas.runtime.ledger import Ledger
from pulumi_atlas.runtime.metrics import Metrics
from pulumi_atlas.runtime.outage import Outage
from pulumi_atlas.runtime.reaper import Reaper
from pulumi_atlas.runtime.settings import RuntimeSettings
from pulumi_atlas.runtime.store.contract import Custody, StoreUnavailable
from pulumi_atlas.runtime.sweeper import Publish, Sweeper
from pulumi_atlas.runtime.webhooks.outbox import Outbox

__all__ = ["Crew"]

_log = logging.getLogger(__name__)


class Crew:
    """The crew of one companion. `publish` is told of events that belong to no change. Raises ConfigError (webhooks)."""

    def __init__(
        self, ledger: Ledger, settings: RuntimeSettings, core: Core, publish: Publish, metrics: Metrics
    ) -> None:
        self.ledger, self.settings, self._publish, self.metrics = ledger, settings, publish, metrics
        self.clock: Clock = ledger.clock
        self.freeze, self.outage = Freeze(), Outage()
        self.freeze.hold(STARTING)
        self.gate = Gate(ledger, settings, self.freeze, self.outage)
        # Places of its own: workers whose calls hang must not keep anybody from looking.
        calls = Calls(self.clock, limit=settings.provider_calls, timeout_s=settings.call_timeout_s)
        calls.told = metrics.call
        self.lister = Lister(core, self.clock, self.outage, calls)
        self.reaper = Reaper(ledger, settings, self.gate)
        self.inspector = Inspector(ledger, settings, self.gate, self.lister)
        self.sweeper: Sweeper | None = None
        self.outbox = Outbox(
            ledger.store, settings.webhooks, self.clock, environ=core.environ,
            told=lambda events: publish(None, events), counted=metrics.webhook,
        )  # fmt: skip
        self.keeping = Keeping(ledger.store, settings, self.clock)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, custody: Custody) -> None:
        """Begin, once the ledger is loaded. A store that nobody has confirmed keeps every kill frozen."""
        await self.outbox.prepare()
        self.ledger.listeners.append(self.outbox.listen)
        self.metrics.frozen = lambda: self.freeze.why(self.clock.monotonic())
        self.metrics.held = lambda: {"waiting": self.reaper.status()["waiting"]}
        self.metrics.outages = lambda: [(one["provider"], one["account"]) for one in self.outage.status()]
        self.metrics.orphans = self._orphans
        self.reaper.killed = self.metrics.kill
        self.metrics.loaded()
        self.sweeper = Sweeper(
            self.ledger, self.settings, self.gate, self.lister, deployment_id=custody.deployment_id,
            held=self.inspector.holds, publish=self._publish,
        )  # fmt: skip
        self.custody(custody)
        self.freeze.lift(STARTING)
        self._keep("flusher", self._flush_for_ever)
        self._keep("reaper", self.reaper.run)
        self._keep("inspector", self.inspector.run)
        self._keep("sweeper", self.sweeper.run)
        self._keep("outbox", self.outbox.run)
        self._keep("keeping", self.keeping.run)

    def custody(self, custody: Custody) -> None:
        """Whether the store is believed to be the right one."""
        if custody.frozen:
            self.freeze.hold(STORE_NOT_CONFIRMED)
        else:
            self.freeze.lift(STORE_NOT_CONFIRMED)
            self.ledger.earlier.set()

    async def stop(self) -> None:
        """End all of it, in the middle of what it does: nothing depends on being finished."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.outbox.aclose()

    async def flush(self, *, stopping: bool = False) -> None:
        """Make activity durable, once; `stopping`: for the last time. Raises StoreUnavailable; it then stays in memory."""
        failpoints.reach("session.flush.1")
        began = self.clock.monotonic()
        try:
            await self.ledger.flush(stopping=stopping)
        except StoreUnavailable:
            self.metrics.store_failed()
            raise
        self.metrics.flushed(self.clock.monotonic() - began)
        failpoints.reach("session.flush.2")

    def _orphans(self) -> Mapping[str, int]:
        return Counter(str(row["action"]) for row in self.sweeper.orphans()) if self.sweeper is not None else {}

    async def _flush_for_ever(self) -> None:
        while True:
            await self.clock.sleep(self.settings.flush_interval_s)
            try:
                await self.flush()
            except StoreUnavailable as error:
                self.gate.store_failed(error)
            else:
                self.gate.store_worked()

    def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._for_ever(name, run), name=f"companion {name}"))

    async def _for_ever(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        failures = BackOff(1.0, 60.0)
        while True:
            began = self.clock.monotonic()
            try:
                await run()
            except (Exception, asyncio.CancelledError) as error:  # it is begun again: nobody else would do its work
                if is_cancelled(error):
                    raise
                _log.exception("the companion's %s broke", name)
            if self.clock.monotonic() - began > 600:
                failures.worked()
            await self.clock.sleep(failures.failed())
