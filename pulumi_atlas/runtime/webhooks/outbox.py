"""All webhooks of a companion. Each goes its own way: one that is slow or gone holds up no other."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_atlas.errors import ConfigError, NotFound
from pulumi_atlas.models.session import Session, SessionEvent
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.addresses import Network, networks_of
from pulumi_atlas.runtime.settings import Webhook
from pulumi_atlas.runtime.store.contract import Store
from pulumi_atlas.runtime.webhooks._delivery import Door, Resolve, look_up
from pulumi_atlas.runtime.webhooks._secrets import Secrets
from pulumi_atlas.runtime.webhooks._sender import Sender

__all__ = ["Outbox"]


def _nothing(*_: object) -> None:
    return None


class Outbox:
    """Sends events to webhooks. `prepare` comes before the first event that they shall get, then `run`; `listen` is a ledger's
    listener, so that events go out at once.

    `told` hears of the notes that are written here (a webhook is gone, an event was given up), `counted` of each attempt: the
    webhook's name and the outcome, as `Metrics.webhook`. Raises ConfigError when a secret or an address is wrong.
    """

    def __init__(
        self,
        store: Store,
        webhooks: Mapping[str, Webhook],
        clock: Clock,
        *,
        environ: Mapping[str, str],
        told: Callable[[Sequence[SessionEvent]], None] = _nothing,
        counted: Callable[[str, str], None] = _nothing,
        resolve: Resolve = look_up,
        tls: ssl.SSLContext | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        secrets = {name: Secrets.of(name, hook, environ) for name, hook in webhooks.items()}
        allowed = {name: _networks(name, hook) for name, hook in webhooks.items()}
        self._senders = {
            name: Sender(
                name,
                kinds=hook.kinds,
                store=store,
                clock=clock,
                door=Door(hook.url, clock=clock, allowed=allowed[name], resolve=resolve, tls=tls),
                secrets=secrets[name],
                chance=chance,
                told=told,
                counted=counted,
            )
            for name, hook in webhooks.items()
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts of all secrets, for whoever keeps them out of logs."""
        return tuple(text for sender in self._senders.values() for text in sender.secrets.texts)

    async def prepare(self) -> None:
        """From now on the store keeps events for these webhooks. Raises StoreUnavailable."""
        await self._store.set_webhooks(list(self._senders))

    async def run(self) -> None:
        """Until it is cancelled; it may be begun again. An unavailable store is waited for."""
        async with asyncio.TaskGroup() as group:
            for sender in self._senders.values():
                group.create_task(sender.run())
            await asyncio.Event().wait()  # without webhooks, too, it runs until it is told not to

    async def step(self) -> None:
        """One round of each. Raises StoreUnavailable."""
        for sender in self._senders.values():
            await sender.step()

    def listen(self, session: Session | None, events: Sequence[SessionEvent]) -> None:
        """Events were written: look what is due."""
        for sender in self._senders.values():
            sender.news.set()

    async def replay(self, event_number: int, webhook: str) -> dict[str, Any]:
        """Send an event that is still kept, now and once, whatever became of it: `delivered`, and the `error` if it was not.

        Raises NotFound (the event or the webhook), StoreUnavailable.
        """
        sender = self._senders.get(webhook)
        if sender is None:
            raise NotFound(f"there is no webhook {webhook}")
        found = await self._store.events(after=event_number - 1, limit=1)
        if not found or found[0].number != event_number:
            raise NotFound(f"event {event_number} is not kept")
        answer = await sender.attempt(found[0])
        delivered = answer.status is not None and 200 <= answer.status < 300
        error = "" if delivered else answer.error or f"HTTP {answer.status}"
        return {"event": event_number, "webhook": webhook, "delivered": delivered, "error": error}

    def status(self) -> list[dict[str, Any]]:
        """How each goes."""
        return [sender.status() for sender in self._senders.values()]

    async def aclose(self) -> None:
        """Close connections, for good. Safe to repeat."""
        for sender in self._senders.values():
            await sender.door.aclose()


def _networks(name: str, hook: Webhook) -> tuple[Network, ...]:
    try:
        return networks_of(hook.allow_private)
    except ValueError:
        raise ConfigError(f"allow_private of webhook {name} names no network") from None
