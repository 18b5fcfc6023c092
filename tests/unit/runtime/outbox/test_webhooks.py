"""Events to webhooks: signed, again until they arrive, and never to where they may not go."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from outbox_kit import Got, MemoryStore, Receiver, TurnedClock, event, run, until
from standardwebhooks import Webhook as Library
from standardwebhooks import WebhookVerificationError

from pulumi_atlas.errors import ConfigError, NotFound
from pulumi_atlas.models.session import SessionEvent
from pulumi_atlas.rules.sessions.webhooks import SCHEDULE_S, WHOLE_SCHEDULE_S
from pulumi_atlas.runtime.settings import Webhook
from pulumi_atlas.runtime.store.contract import StoreUnavailable
from pulumi_atlas.runtime.webhooks._message import MOST_BYTES, message_of
from pulumi_atlas.runtime.webhooks._secrets import Secrets
from pulumi_atlas.runtime.webhooks.outbox import Outbox

SECRET, OTHER = ("whsec_" + base64.b64encode(bytes([one] * 32)).decode() for one in (1, 2))
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def second() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Names:
    """Answers of the name system, in turn; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = answers, 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


class World:
    """A store, a clock and an outbox to receivers on loopback, and what it told."""

    def __init__(self, *receivers: Receiver, secret: str = SECRET, url: str | None = None, **options: Any) -> None:
        self.store, self.clock = MemoryStore(), TurnedClock()
        self.clock.wall = time.time()
        self.receivers, self.secret, self.url = receivers, secret, url
        self.names = options.pop("names", Names(["127.0.0.1"]))
        self.allow = options.pop("allow", LOOPBACK)
        self.kinds = options.pop("kinds", ())
        self.options = options
        self.told: list[SessionEvent] = []
        self.counted: list[tuple[str, str]] = []
        self.outbox = self.made()

    def made(self) -> Outbox:
        hooks = {
            f"hook{number}": Webhook(
                url=self.url or f"http://hooks.example:{one.port}/in", secret_env="SECRET",
                allow_private=self.allow, kinds=self.kinds,
            )
            for number, one in enumerate(self.receivers)
        }  # fmt: skip
        return Outbox(
            self.store, hooks, self.clock,  # type: ignore[arg-type]
            environ={"SECRET": self.secret}, told=self.told.extend, resolve=self.names, chance=lambda: 0.0,
            counted=lambda name, outcome: self.counted.append((name, outcome)), **self.options,
        )  # fmt: skip

    async def ready(self, *events: SessionEvent) -> None:
        await self.outbox.prepare()
        self.happen(*events)

    def happen(self, *events: SessionEvent) -> None:
        self.outbox.listen(None, self.store.write(*(events or (event(at=self.clock.wall),))))

    async def done(self) -> None:
        """Steps until nothing is due."""
        while await self.store.due(self.clock.now()):
            await self.outbox.step()
        await self.outbox.aclose()

    def notes(self) -> list[tuple[str, Any]]:
        return [(one.cause, one.data) for one in self.store.kept if one.kind == "note"]


def verified(got: Got, secret: str = SECRET) -> Any:
    """By the library's own check."""
    return Library(secret).verify(got.body, got.headers)


# -- what is sent


def test_the_signature_is_that_of_the_standards_example() -> None:
    signer = Secrets(("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",))
    assert signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', now=1614265330.9) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_an_event_arrives_and_the_library_verifies_it(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver)
        shown = {"id": "s1", "state": "ready", "cost": None}
        await world.ready(event("s1", at=1_767_225_600.25, data=shown, owner="ann", actor="key:k1", cause="usable"))
        await world.done()
        (got,) = receiver.got
        assert got.path == "/in" and got.headers["host"] == f"hooks.example:{receiver.port}"
        assert got.headers["content-type"] == "application/json"
        assert verified(got) == {
            "type": "session.status",
            "timestamp": "2026-01-01T00:00:00.250Z",
            "data": {
                **shown, "session_id": "s1", "owner": "ann",
                "event": {"number": 1, "actor": "key:k1", "cause": "usable"},
            },
        }  # fmt: skip
        with pytest.raises(WebhookVerificationError):
            verified(got, OTHER)
        assert world.store.outbox == {} and world.counted == [("hook0", "delivered")]

    run(story())


def test_while_a_secret_is_replaced_both_verify(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver, secret=f" {SECRET}, {OTHER}\n")
        assert world.outbox.secrets == (SECRET, OTHER)
        await world.ready(event())
        await world.done()
        assert verified(receiver.got[0], SECRET) == verified(receiver.got[0], OTHER)

    run(story())


def test_each_attempt_has_the_events_id_and_its_own_time(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(500, {}), (200, {})]
        world = World(receiver)
        await world.ready(event(), event())
        world.clock.wall = 1_700_000_100.0
        await world.outbox.step()
        world.clock.turn(5)
        await world.done()
        first, other, again = sorted(receiver.got, key=lambda got: got.headers["webhook-timestamp"])
        assert again.headers["webhook-id"] in (first.headers["webhook-id"], other.headers["webhook-id"])
        assert first.headers["webhook-id"] != other.headers["webhook-id"]
        assert int(again.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 5 == 1_700_000_105
        assert again.body in (first.body, other.body)

    run(story())


def test_another_event_with_the_same_number_has_another_id() -> None:
    one = event("s1", number=7)
    assert message_of(one).id == message_of(event("s1", number=7)).id
    others = [
        event("s2", number=7),
        event("s1", number=8),
        event("s1", number=7, at=one.at + 1),
        event("s1", "warning", number=7),
    ]
    assert len({message_of(each).id for each in (one, *others)}) == 5


@pytest.mark.parametrize("size", [0, 10_000, 19_500, 20_500, 500_000])
def test_a_body_is_never_too_long(size: int) -> None:
    body = message_of(
        event("s1", data={"id": "s1", "state": "ready", "status": "ready", "labels": {"a": "é" * (size // 6)}})
    ).body
    assert len(body.encode()) < MOST_BYTES
    data = json.loads(body)["data"]
    assert data["id"] == data["session_id"] == "s1" and data["state"] == data["status"] == "ready"
    assert ("labels" in data) == (size < MOST_BYTES) == ("shortened" not in data)


def test_only_the_kinds_that_it_wants_are_sent_and_notes_about_webhooks_never(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver, kinds=("warning", "note"))
        await world.ready(event("s1"), event("s1", "warning"), event(None, "note"), event("s1", "note"))
        await world.done()
        assert sorted(json.loads(got.body)["type"] for got in receiver.got) == ["session.note", "session.warning"]
        assert world.store.outbox == {}

    run(story())


# -- again, and the end


def test_an_event_is_tried_by_the_schedule_and_then_given_up_with_a_note(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(500, {})]
        world = World(receiver)
        await world.ready(event(at=world.clock.wall))
        for number, wait in enumerate(SCHEDULE_S):
            if wait:
                world.clock.turn(wait - 1)
                await world.outbox.step()
                assert len(receiver.got) == number
                world.clock.turn(1)
            await world.outbox.step()
            assert len(receiver.got) == number + 1
        assert world.notes() == [
            ("webhook_given_up", {"webhook": "hook0", "event": 1, "session": "s1", "error": "HTTP 500"})
        ]
        assert [one.number for one in world.told] == [2]
        world.clock.turn(1_000_000)
        await world.done()
        assert len(receiver.got) == 10 and world.store.outbox == {}
        assert world.counted == [("hook0", "postponed")] * 9 + [("hook0", "given_up")]

    run(story())


def test_a_redirect_is_a_failure_and_nobody_follows_it(receiver: Receiver, second: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [
            (status, {"Location": f"http://127.0.0.1:{second.port}/"}) for status in (301, 302, 307, 308)
        ]
        world = World(receiver)
        await world.ready(event())
        for wait in SCHEDULE_S[:4]:
            world.clock.turn(wait)
            await world.outbox.step()
        await world.outbox.aclose()
        assert (len(receiver.got), second.got) == (4, [])
        assert world.store.outbox[1, "hook0"].attempt == 4 and world.store.outbox[1, "hook0"].last_error == "HTTP 308"

    run(story())


def test_410_disables_the_webhook_until_a_restart(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(410, {}), (200, {})]
        world = World(receiver)
        await world.ready(event(at=world.clock.wall))
        await world.outbox.step()
        world.happen()
        await world.outbox.step()
        assert len(receiver.got) == 1
        assert world.notes() == [("webhook_gone", {"webhook": "hook0"})] and len(world.told) == 1
        assert world.outbox.status()[0]["state"] == "disabled"
        await world.outbox.step()
        assert len(world.notes()) == 1
        await world.outbox.aclose()
        world.outbox = world.made()
        await world.done()
        assert len(receiver.got) == 3 and world.store.outbox == {}

    run(story())


def test_what_waits_for_a_disabled_webhook_is_dropped_when_it_would_have_been_given_up(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(410, {})]
        world = World(receiver)
        await world.ready(event(at=world.clock.wall))
        await world.outbox.step()
        world.clock.turn(WHOLE_SCHEDULE_S - 10)
        world.happen(event(at=world.clock.wall))
        await world.outbox.step()
        assert [number for number, _ in world.store.outbox] == [1, 3]  # the note belongs to no session
        world.clock.turn(20)
        await world.outbox.step()
        assert [number for number, _ in world.store.outbox] == [3]
        (sender,) = world.outbox._senders.values()
        assert await sender.step() == 300
        await world.outbox.aclose()

    run(story())


@pytest.mark.parametrize("status", [429, 502, 504])
def test_a_webhook_that_asks_for_less_is_left_alone(receiver: Receiver, status: int) -> None:
    async def story() -> None:
        receiver.answers = [(status, {"Retry-After": "120"}), (200, {})]
        world = World(receiver)
        await world.ready(event())
        await world.outbox.step()
        world.happen()
        world.clock.turn(119)
        await world.outbox.step()
        assert len(receiver.got) == 1 and world.outbox.status()[0]["state"] == "throttled"
        world.clock.turn(1)
        await world.done()
        assert len(receiver.got) == 3 and world.outbox.status()[0]["state"] == "open"

    run(story())


def test_a_throttled_webhook_is_left_alone_longer_each_time_when_it_does_not_say(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(429, {})] * 3 + [(200, {}), (429, {})]
        world = World(receiver)
        await world.ready(event())
        waits = []
        for _ in range(5):
            await world.outbox.step()
            waits.append(world.outbox.status()[0]["throttled_s"])
            world.clock.turn(40_000)
            if waits[-1] == 0:
                world.happen()
        assert waits == [5, 10, 20, 0, 5]
        await world.outbox.aclose()

    run(story())


def test_those_sent_together_throttle_once(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(429, {})]
        world = World(receiver)
        await world.ready(*[event() for _ in range(8)])
        for wait in (5, 10):
            await world.outbox.step()
            assert world.outbox.status()[0]["throttled_s"] == wait
            world.clock.turn(wait)
        assert len(receiver.got) == 8
        await world.outbox.aclose()

    run(story())


def test_an_address_that_is_not_allowed_is_a_failure_of_its_own_kind(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver, allow=())
        await world.ready(event())
        await world.outbox.step()
        assert world.counted == [("hook0", "refused")] and receiver.got == []
        assert world.store.outbox[1, "hook0"].last_error == "refused: 127.0.0.1 is loopback"
        assert world.store.outbox[1, "hook0"].attempt == 1
        assert (await world.outbox.replay(1, "hook0"))["error"] == "refused: 127.0.0.1 is loopback"
        await world.outbox.aclose()

    run(story())


def test_503_with_retry_after_delays_the_event_and_not_the_webhook(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(503, {"Retry-After": "60"}), (200, {})]
        world = World(receiver)
        await world.ready(event())
        await world.outbox.step()
        world.happen()
        world.clock.turn(59)
        await world.done()
        assert len(receiver.got) == 2 and list(world.store.outbox) == [(1, "hook0")]

    run(story())


def test_no_answer_in_time_is_a_failure(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.held = threading.Event()
        world = World(receiver)
        await world.ready(event())
        sending = asyncio.ensure_future(world.outbox.step())
        await until(lambda: receiver.got)
        world.clock.turn(19)
        await asyncio.sleep(0)
        assert not sending.done()
        world.clock.turn(1)
        await sending
        assert world.store.outbox[1, "hook0"].last_error == "no answer in 20 s"
        await world.outbox.aclose()

    run(story())


def test_an_answer_whose_body_never_ends_is_an_answer(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.endless = True
        world = World(receiver)
        await world.ready(event())
        await world.done()
        assert world.counted == [("hook0", "delivered")]

    run(story())


def test_a_receiver_that_is_not_there_is_a_failure_with_a_reason(receiver: Receiver) -> None:
    async def story() -> None:
        async def unknown(host: str, port: int) -> Sequence[str]:
            raise OSError("name or service not known")

        for names, error in (
            (Names(["127.0.0.1"]), "no connection"),
            (unknown, "its host is not found"),
            (Names([]), "no connection"),
        ):
            world = World(receiver, url="http://hooks.example:1/in", names=names)
            await world.ready(event())
            await world.outbox.step()
            await world.outbox.aclose()
            assert world.store.outbox[1, "hook0"].last_error == error
        assert receiver.got == []

    run(story())


def test_one_slow_webhook_holds_up_no_other(receiver: Receiver, second: Receiver) -> None:
    async def story() -> None:
        receiver.held = threading.Event()
        world = World(receiver, second)
        await world.ready(*[event() for _ in range(100)])
        running = asyncio.ensure_future(world.outbox.run())
        await until(lambda: len(second.got) == 100 and len(receiver.got) == 4)
        world.happen()
        await until(lambda: len(second.got) == 101)
        assert len(receiver.got) == 4
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert {name for _, name in world.store.outbox} <= {"hook0", "hook1"}
        assert sum(name == "hook0" for _, name in world.store.outbox) == 101

    run(story())


def test_what_waits_for_one_webhook_is_no_work_for_another(receiver: Receiver, second: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(429, {"Retry-After": "60"})]
        world = World(receiver, second)
        await world.ready(event(), event())
        await world.outbox.step()
        await world.outbox.step()
        slow, other = world.outbox._senders.values()
        assert await slow.step() == 60
        assert await other.step() is None
        assert len(second.got) == 2
        await world.outbox.aclose()

    run(story())


# -- the store fails


def test_what_arrived_is_not_sent_again_while_the_store_cannot_say_so(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver)
        await world.ready(event())
        world.store.failing = {"delivered"}
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await world.outbox.step()
        world.store.failing = set()
        await world.done()
        assert len(receiver.got) == 1 and world.store.outbox == {}

    run(story())


def test_it_goes_on_when_the_store_comes_back_and_when_something_happens(receiver: Receiver) -> None:
    async def story() -> None:
        world = World(receiver)
        await world.ready(event())
        world.store.fails = 2
        running = asyncio.ensure_future(world.outbox.run())
        for _ in range(2):
            await world.clock.sleeper()
            world.clock.turn(1)
        await until(lambda: len(receiver.got) == 1 and not world.store.outbox)
        assert world.clock.slept[:2] == [0.5, 1.0]
        await until(lambda: world.clock.slept[-1] == 300)
        world.happen()
        await until(lambda: len(receiver.got) == 2)
        await until(lambda: world.clock.slept[-2:] == [20, 300])
        world.store.fails = 1
        world.happen()
        await until(lambda: world.clock.slept[-1] == 0.5)  # counted anew
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        world.clock.turn(1)
        running = asyncio.ensure_future(world.outbox.run())  # whoever keeps it may begin it again
        await until(lambda: len(receiver.got) == 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await world.outbox.aclose()

    run(story())


def test_it_wakes_by_itself_when_the_next_attempt_is_due(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(500, {}), (200, {})]
        world = World(receiver)
        await world.ready(event())
        running = asyncio.ensure_future(world.outbox.run())
        await until(lambda: world.store.outbox[1, "hook0"].attempt == 1)
        await until(lambda: world.clock.slept[-1] == 5)
        world.clock.turn(5)
        await until(lambda: len(receiver.got) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(story())


def test_without_webhooks_it_waits_until_it_is_ended() -> None:
    async def story() -> None:
        world = World()
        await world.ready(event())
        assert world.store.outbox == {}
        running = asyncio.ensure_future(world.outbox.run())
        await asyncio.sleep(0)
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(story())


# -- by hand


def test_an_event_can_be_sent_again_by_hand(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(410, {}), (200, {}), (500, {})]
        world = World(receiver, kinds=("status",))
        await world.ready(event(), event("s1", "warning"))
        await world.outbox.step()
        before = dict(world.store.outbox)
        assert await world.outbox.replay(2, "hook0") == {"event": 2, "webhook": "hook0", "delivered": True, "error": ""}
        again = await world.outbox.replay(1, "hook0")
        assert (again["delivered"], again["error"]) == (False, "HTTP 500")
        assert receiver.got[2].headers["webhook-id"] == receiver.got[0].headers["webhook-id"]
        assert world.store.outbox == before
        for number, name in ((99, "hook0"), (0, "hook0"), (1, "other")):
            with pytest.raises(NotFound):
                await world.outbox.replay(number, name)
        await world.outbox.aclose()

    run(story())


def test_how_it_goes_is_told_without_its_address(receiver: Receiver) -> None:
    async def story() -> None:
        receiver.answers = [(200, {}), (500, {})]
        world = World(receiver)
        await world.ready(event())
        await world.outbox.step()
        world.happen()
        await world.outbox.step()
        (status,) = world.outbox.status()
        assert status | {"delivered_at": 0} == {
            "webhook": "hook0", "state": "open", "throttled_s": 0.0, "delivered": 1, "failed": 1, "delivered_at": 0,
            "last_error": "HTTP 500",
        }  # fmt: skip
        assert status["delivered_at"] == world.clock.wall
        assert "hooks.example" not in str(status)
        await world.outbox.aclose()

    run(story())


# -- settings


@pytest.mark.parametrize(
    ("secret", "url", "allow"),
    [
        ("", "https://hooks.example/", ()),
        (" , ", "https://hooks.example/", ()),
        ("whsec_c2hvcnQ=", "https://hooks.example/", ()),
        (SECRET.removeprefix("whsec_"), "https://hooks.example/", ()),
        (f"{SECRET},whsec_!", "https://hooks.example/", ()),
        (SECRET, "https://ann:pw@hooks.example/", ()),
        (SECRET, "https://hooks.example:99999/", ()),
        (SECRET, "https:///x", ()),
        (SECRET, "https://höoks.example/", ()),
        (SECRET, "https://hooks.example/", ("10.0.0.1/8",)),
    ],
)
def test_what_makes_no_sense_is_refused_without_showing_a_secret(secret: str, url: str, allow: tuple[str, ...]) -> None:
    hook = Webhook(url=url, secret_env="SECRET", allow_private=allow)
    with pytest.raises(ConfigError) as refused:
        Outbox(MemoryStore(), {"w": hook}, TurnedClock(), environ={"SECRET": secret})  # type: ignore[arg-type]
    assert (
        "whsec_c2" not in str(refused.value)
        and SECRET[10:] not in str(refused.value)
        and "pw" not in str(refused.value)
    )


def test_a_secret_may_stand_in_a_file(tmp_path: Any) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    assert Secrets.of("w", Webhook(url="https://a.example", secret_file=str(file)), {}).texts == (SECRET,)
    assert SECRET not in repr(Secrets((SECRET,)))
    file.unlink()
    with pytest.raises(ConfigError):
        Secrets.of("w", Webhook(url="https://a.example", secret_file=str(file)), {})
