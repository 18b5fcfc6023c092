"""Feed, outbox and figures as a companion puts them together: a ledger on the real store."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from outbox_kit import Receiver, TurnedClock, run, session, until
from standardwebhooks import Webhook as Library

from pulumi_atlas.models.session import SessionEvent
from pulumi_atlas.runtime.feed import Feed
from pulumi_atlas.runtime.ledger import Change, Happened, Ledger
from pulumi_atlas.runtime.metrics import Metrics
from pulumi_atlas.runtime.settings import Webhook
from pulumi_atlas.runtime.store.sqlite import SqliteStore
from pulumi_atlas.runtime.webhooks.outbox import Outbox

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Parts:
    """What a companion has of it; the listeners are those of the brief."""

    def __init__(self, folder: Path, clock: TurnedClock, port: int) -> None:
        self.store, self.clock = SqliteStore(folder / "sessions.db"), clock
        self.ledger = Ledger(self.store, clock)
        self.feed = Feed(self.store, clock)
        self.metrics = Metrics(self.ledger, webhooks=["hook"])
        hook = Webhook(url=f"http://127.0.0.1:{port}/", secret_env="SECRET", allow_private=("127.0.0.0/8",))
        self.outbox = Outbox(
            self.store, {"hook": hook}, clock, environ={"SECRET": SECRET}, told=self.told, counted=self.metrics.webhook
        )
        self.ledger.listeners += [self.feed.publish, self.metrics.listen, self.outbox.listen]

    def told(self, events: Sequence[SessionEvent]) -> None:
        self.feed.publish(None, events)
        self.metrics.listen(None, events)

    async def __aenter__(self) -> Parts:
        await self.store.open(name="test", now=self.clock.now())
        await self.outbox.prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.feed.close()
        await self.outbox.aclose()
        await self.store.aclose()

    def sampled(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


async def _move(parts: Parts, ident: str, to: Any) -> None:
    await parts.ledger.change(ident, lambda _: Change("companion", "usable", to=to, events=(Happened("note"),)))


@pytest.mark.parametrize("seed", range(2))
def test_streams_and_webhooks_have_every_event_of_many_sessions_at_once(
    tmp_path: Path, receiver: Receiver, seed: int
) -> None:
    chance = random.Random(seed)

    async def watch(parts: Parts, ident: str | None, count: int) -> list[int]:
        seen: list[int] = []
        async with aclosing(parts.feed.follow(0, ident)) as stream:  # type: ignore[type-var]
            async for one in stream:
                assert isinstance(one, SessionEvent)
                seen.append(one.number)
                if len(seen) == count:
                    break
        return seen

    async def live(parts: Parts, ident: str) -> None:
        await parts.ledger.add(session(ident, state="requested", created_at=parts.clock.now()), "key:k1")
        for state in ("provisioning", "ready", "terminating", "terminated"):
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
            await _move(parts, ident, state)

    async def story() -> None:
        async with Parts(tmp_path, TurnedClock(), receiver.port) as parts:
            sending = asyncio.ensure_future(parts.outbox.run())
            names = [f"s{number}" for number in range(4)]
            everything = [asyncio.ensure_future(watch(parts, None, 36)) for _ in range(3)]
            await asyncio.gather(*(live(parts, name) for name in names))
            for one in everything:
                assert await one == list(range(1, 37))
            for name in names:
                mine = [one.number for one in await parts.store.events(after=0, session_id=name)]
                # the note after the final status comes behind the stream's end
                assert await watch(parts, name, 99) == mine[:-1]
            await until(lambda: len(receiver.got) == 36)
            sending.cancel()
            await asyncio.wait({sending})
            assert len({got.headers["webhook-id"] for got in receiver.got}) == 36
            assert parts.sampled("atlas_events_total", kind="status") == 20
            assert parts.sampled("atlas_sessions_opened_total", template="inline", outcome="ready") == 4

    run(story())


def test_after_a_crash_an_event_is_sent_again_under_the_same_id(tmp_path: Path, receiver: Receiver) -> None:
    async def story() -> None:
        clock = TurnedClock()
        receiver.answers = [(500, {}), (200, {})]
        async with Parts(tmp_path, clock, receiver.port) as parts:
            await parts.ledger.add(session("s1", state="requested", labels={"ä": "ö"}), "key:k1")
            await parts.outbox.step()
        clock.turn(6)
        async with Parts(tmp_path, clock, receiver.port) as parts:
            await parts.outbox.step()
            assert await parts.store.next_due() is None
        first, again = receiver.got
        assert first.headers["webhook-id"] == again.headers["webhook-id"] and first.body == again.body
        assert json.loads(again.body)["data"]["labels"] == {"ä": "ö"}
        signed = Library(SECRET).sign(again.headers["webhook-id"], _at(again.headers["webhook-timestamp"]), again.body)
        assert again.headers["webhook-signature"] == signed

    run(story())


def test_what_is_given_up_is_noted_in_the_stream_of_all(tmp_path: Path, receiver: Receiver) -> None:
    async def story() -> None:
        clock = TurnedClock()
        receiver.answers = [(500, {})]
        async with Parts(tmp_path, clock, receiver.port) as parts:
            await parts.ledger.add(session("s1", state="requested"), "key:k1")
            for _ in range(10):
                await parts.outbox.step()
                clock.turn(100_000)
            await parts.outbox.step()
            assert await parts.store.next_due() is None
            async with aclosing(parts.feed.follow(1)) as stream:  # type: ignore[type-var]
                note = await anext(stream)
            assert isinstance(note, SessionEvent)
            assert (note.kind, note.cause, note.data["event"]) == ("note", "webhook_given_up", 1)
            assert parts.sampled("atlas_webhooks_total", webhook="hook", outcome="given_up") == 1
            assert len(receiver.got) == 10

    run(story())


def _at(timestamp: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(timestamp), UTC)
