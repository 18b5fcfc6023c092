"""What is due to one webhook goes out: a few at once, and each result is written down before it counts as done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_atlas.models.session import SessionEvent
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.webhooks import WHOLE_SCHEDULE_S, Answer, Judgement, judge_answer
from pulumi_atlas.runtime._pausing import BackOff, pause
from pulumi_atlas.runtime.store.contract import Delivery, Store, StoreUnavailable
from pulumi_atlas.runtime.webhooks._delivery import Door, Refused
from pulumi_atlas.runtime.webhooks._message import message_of
from pulumi_atlas.runtime.webhooks._secrets import Secrets

__all__ = ["TOGETHER", "Sender"]

#: So many attempts at once for one webhook.
TOGETHER = 4
#: The longest wait without a look: the wall clock, by which deliveries are due, may be turned.
_LOOK_S = 300.0
_FORGET = 50

_log = logging.getLogger("pulumi_atlas.runtime.webhooks")


@dataclass(frozen=True, slots=True)
class _Result:
    """What an attempt came to, until the store has it."""

    delivery: Delivery
    judgement: Judgement
    due_at: float


class Sender:
    """The outbox of one webhook. `kinds`: the events that it wants; empty: all. `disabled`: it said that it is gone.

    `told` hears of events that were written, `counted` of each attempt: the webhook's name and the outcome.
    """

    def __init__(
        self,
        name: str,
        *,
        kinds: Sequence[str],
        store: Store,
        clock: Clock,
        door: Door,
        secrets: Secrets,
        chance: Callable[[], float],
        told: Callable[[Sequence[SessionEvent]], None],
        counted: Callable[[str, str], None],
    ) -> None:
        self.name, self.door, self.secrets = name, door, secrets
        self.news = asyncio.Event()
        self.disabled = False
        self._kinds, self._store, self._clock = frozenset(kinds), store, clock
        self._chance, self._told, self._counted = chance, told, counted
        self._results: dict[int, _Result] = {}
        self._quiet_until = float("-inf")  # monotonic
        self._throttled = 0
        self._noted_gone = True
        self._done, self._failed, self._last_error = 0, 0, ""
        self._last_at: float | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = BackOff()
        while True:
            self.news.clear()
            try:
                wait = await self.step()
            except StoreUnavailable:
                await pause(self._clock, failures.failed())
                continue
            failures.worked()
            if wait is None or wait > 0:
                await pause(self._clock, _LOOK_S if wait is None else min(wait, _LOOK_S), self.news)

    async def step(self) -> float | None:
        """One round. Seconds until there may be something to do: 0 now, None when nothing is due. Raises StoreUnavailable."""
        await self._write_down()
        if self.disabled:
            return await self._forget_old()
        quiet_s = self._quiet_until - self._clock.monotonic()
        if quiet_s > 0:
            return quiet_s
        now = self._clock.now()
        due = await self._store.due(now, webhook=self.name, limit=TOGETHER)
        if due:
            await asyncio.gather(*(self._handle(one) for one in due))
            await self._write_down()
            return 0.0
        first = await self._store.next_due(webhook=self.name)
        return None if first is None else max(0.0, first - now)

    async def attempt(self, event: SessionEvent) -> Answer:
        """Send it now, once."""
        message = message_of(event)
        headers = self.secrets.headers(message.id, message.body, now=self._clock.now())
        try:
            return await self.door.post(message.body, headers)
        except Refused as why:
            return Answer(None, error=f"refused: {why}")

    def status(self) -> dict[str, Any]:
        """How it goes. Without its address, which may hold a secret."""
        quiet_s = max(0.0, self._quiet_until - self._clock.monotonic())
        return {
            "webhook": self.name,
            "state": "disabled" if self.disabled else "throttled" if quiet_s else "open",
            "throttled_s": round(quiet_s, 3),
            "delivered": self._done,
            "failed": self._failed,
            "delivered_at": self._last_at,
            "last_error": self._last_error,
        }

    async def _handle(self, delivery: Delivery) -> None:
        if not self._wants(delivery.event):
            self._results[delivery.event.number] = _Result(delivery, Judgement("delivered"), 0.0)
            return
        throttled = self._throttled  # before any of those that are sent together
        answer = await self.attempt(delivery.event)
        judged = judge_answer(answer, attempt=delivery.attempt + 1, chance=self._chance(), throttled=throttled)
        due_at = self._clock.now() + judged.wait_s
        self._results[delivery.event.number] = _Result(delivery, judged, due_at)
        self._count(answer, judged)

    def _count(self, answer: Answer, judged: Judgement) -> None:
        outcome = "postponed" if judged.outcome == "again" else judged.outcome
        self._counted(
            self.name, "refused" if answer.error.startswith("refused") and outcome == "postponed" else outcome
        )
        if judged.throttle_s > 0:
            now = self._clock.monotonic()
            self._throttled += self._quiet_until <= now  # those sent together count once
            self._quiet_until = max(self._quiet_until, now + judged.throttle_s)
        if judged.outcome == "delivered":
            self._done, self._throttled, self._last_at = self._done + 1, 0, self._clock.now()
            return
        self._failed, self._last_error = self._failed + 1, judged.error
        if judged.outcome == "gone" and not self.disabled:
            self.disabled, self._noted_gone = True, False
            _log.warning("webhook %s says that it is gone: nothing is sent to it until a restart", self.name)

    async def _write_down(self) -> None:
        """Results that the store does not have yet. What fails stays for the next round, and is not sent again meanwhile."""
        for number, result in list(self._results.items()):
            await self._write(result)
            del self._results[number]
        if not self._noted_gone:
            await self._note("webhook_gone", {"webhook": self.name})
            self._noted_gone = True

    async def _write(self, result: _Result) -> None:
        number, judged = result.delivery.event.number, result.judgement
        if judged.outcome == "again":
            await self._store.postponed(number, self.name, due_at=result.due_at, error=judged.error)
        elif judged.outcome == "given_up":
            _log.warning("event %d is given up for webhook %s: %s", number, self.name, judged.error)
            about = {"session": result.delivery.event.session_id, "error": judged.error}
            await self._note("webhook_given_up", {"webhook": self.name, "event": number, **about})
            await self._store.delivered(number, self.name)
        elif judged.outcome == "delivered":
            await self._store.delivered(number, self.name)

    async def _note(self, cause: str, data: dict[str, Any]) -> None:
        note = SessionEvent(
            at=self._clock.now(), session_id=None, kind="note", actor="companion", cause=cause, data=data
        )
        self._told(await self._store.note([note]))

    async def _forget_old(self) -> float:
        """Of a webhook that is gone: what would have been given up by now anyway."""
        now = self._clock.now()
        due = await self._store.due(now, webhook=self.name, limit=_FORGET)
        old = [one for one in due if one.event.at < now - WHOLE_SCHEDULE_S or not self._wants(one.event)]
        for one in old:
            await self._store.delivered(one.event.number, self.name)
        return 0.0 if old else _LOOK_S

    def _wants(self, event: SessionEvent) -> bool:
        """Notes about webhooks belong to no session, and go to none."""
        return event.session_id is not None and (not self._kinds or event.kind in self._kinds)
