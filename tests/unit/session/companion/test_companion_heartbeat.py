"""Both faces of the heartbeat, with a companion on a socket and a clock that passes as soon as somebody waits."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from companion_kit import DEADLINE_S, FakeClock, FakeCompanion, answer, lost, stuck, until, until_async

from atlas_session.companion import AsyncCompanionClient, CompanionClient, Session


class Beating:
    """A heartbeat of either kind, running beside the test."""

    def __init__(self, kind: str, companion: FakeCompanion, clock: FakeClock) -> None:
        self.kind, self.gone, self.warned = kind, list[str](), list[Session]()
        self._companion, self._clock = companion, clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self.beat: Any = None
        self.client: Any = None

    def start(self, **options: Any) -> Self:
        options = {"on_gone": self.gone.append, "on_warning": self.warned.append, **options}
        if self.kind == "sync":
            self.client = CompanionClient(self._companion.url, key=self._companion.key, clock=self._clock)
            self.beat = self.client.heartbeat("s1", **options).start()
            return self
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def begin() -> None:
            self.client = AsyncCompanionClient(self._companion.url, key=self._companion.key, clock=self._clock)
            self.beat = self.client.heartbeat("s1", **options).start()

        self._run(begin())
        return self

    def stop(self) -> None:
        if self._loop is None:
            self.beat.stop()
            self.client.close()
            return
        self._run(self.beat.stop())
        self._run(self.client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@pytest.fixture(params=["sync", "async"])
def beating(request: pytest.FixtureRequest, companion: FakeCompanion, clock: FakeClock) -> Iterator[Beating]:
    made = Beating(request.param, companion, clock)
    yield made
    made.stop()


def test_it_touches_while_the_session_is_used(beating: Beating, companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    beating.start(source="page")
    until(lambda: len(companion.touches) >= 5)
    assert companion.touches[0] == {"source": "page", "idle_s": 0.0, "count": 1}
    assert max(clock.sleeps) <= 2.0, "it looks at the clock often, to see that the machine slept"
    assert beating.beat.session is not None and beating.beat.session.id == "s1"
    assert beating.gone == [] and beating.warned == []


def test_it_only_reads_while_nobody_is_there(beating: Beating, companion: FakeCompanion) -> None:
    companion.add("s1")
    beating.start(active=lambda: False)
    until(lambda: len(companion.requests) >= 4)
    assert companion.touches == [] and set(companion.requests) == {"GET /v1/sessions/s1"}
    companion.set("s1", status="terminating")
    until(lambda: beating.gone)
    assert beating.gone == ["terminating"], "and learns the end all the same"


@pytest.mark.parametrize("status", ["terminating", "terminated", "failed", "irrevocable"])
def test_it_tells_of_a_status_without_return(beating: Beating, companion: FakeCompanion, status: str) -> None:
    companion.add("s1")
    beating.start()
    until(lambda: len(companion.touches) >= 2)
    companion.set("s1", status=status)
    until(lambda: beating.gone)
    assert beating.gone == [status] == [beating.beat.gone]


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "no_such_session"), (410, "ended"), (401, "not_allowed"), (403, "not_allowed")]
)
def test_it_tells_of_a_refusal_without_return_once(
    beating: Beating, companion: FakeCompanion, status: int, reason: str
) -> None:
    companion.add("s1")
    companion.say(*[answer(503)] * 3)
    beating.start()
    until(lambda: len(companion.touches) >= 2)
    companion.always = answer(status, {"title": "x"})
    until(lambda: beating.gone)
    asked = len(companion.requests)
    beating.stop, stop = lambda: None, beating.stop  # type: ignore[method-assign]
    stop()
    assert beating.gone == [reason] and len(companion.requests) == asked, "once, and then it is silent"


def test_it_never_tells_of_an_outage(beating: Beating, companion: FakeCompanion) -> None:
    companion.add("s1")
    html = answer(404, b"<html>", "text/html")
    broken = answer(200, b"{", "application/json")
    misdeeds = [
        answer(500),
        answer(503),
        lost(),
        lost(done=False),
        html,
        broken,
        answer(302, Location="/"),
        answer(409, {}),
    ]
    companion.say(*(misdeeds * 4))
    beating.start()
    until(lambda: not companion.plan)
    until(lambda: len(companion.requests) >= 4 * len(misdeeds) + 2)
    assert beating.gone == []


def test_a_callback_that_fails_stops_nothing(
    beating: Beating, companion: FakeCompanion, caplog: pytest.LogCaptureFixture
) -> None:
    companion.add("s1", deadline=companion.clock + 5, warning_at=companion.clock - 5)

    def broken(*_: object) -> bool:
        raise RuntimeError("the owner's mistake")

    gone = threading.Event()

    def told(reason: str) -> None:
        gone.set()
        raise RuntimeError("the owner's mistake")

    beating.start(active=broken, on_warning=broken, on_gone=told)
    until(lambda: len(companion.touches) >= 3)
    companion.set("s1", status="failed")
    until(gone.is_set)
    until(lambda: caplog.text.count("the owner's mistake") >= 3)


def test_it_warns_once_for_each_deadline(beating: Beating, companion: FakeCompanion, clock: FakeClock) -> None:
    start = clock.wall()
    companion.add("s1", deadline=start + 1000, warning_at=start + 100)
    beating.start()
    until(lambda: len(companion.touches) >= 20)
    assert [session.deadline for session in beating.warned] == [start + 1000]
    second = clock.wall() + 500
    companion.set("s1", deadline=second, warning_at=second - 400)
    until(lambda: len(beating.warned) == 2)
    assert beating.warned[1].deadline == second


def test_after_the_machine_slept_it_touches_at_once(
    beating: Beating, companion: FakeCompanion, clock: FakeClock
) -> None:
    companion.add("s1")
    real, seen = clock._pass, list[tuple[float, int]]()

    def sleepy(seconds: float) -> None:
        real(seconds)
        if len(companion.touches) == 1 and not seen:
            clock.started += 8 * 3600  # the lid was shut; the monotonic clock stood still
            seen.append((clock.time, 1))

    clock._pass = sleepy  # type: ignore[method-assign]
    beating.start(interval_s=600)
    until(lambda: len(companion.touches) >= 2)
    assert clock.time < 300, "not at the end of the interval"
    assert seen


def test_stop_ends_a_beat_that_hangs(companion: FakeCompanion) -> None:
    companion.always = stuck()
    with CompanionClient(companion.url, key=companion.key, read_timeout_s=3600) as client:
        beat = client.heartbeat("s1", on_gone=lambda reason: pytest.fail(reason))
        beat.start()
        until(lambda: companion.requests)
        stopping = threading.Thread(target=beat.stop)
        stopping.start()
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive() and not beat._thread.is_alive()
        with beat:
            assert not beat._thread.is_alive(), "it does not begin again"


def test_stop_may_be_called_from_a_callback(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1", "failed")
    done = threading.Event()
    with CompanionClient(companion.url, key=companion.key, clock=clock) as client:
        beat = client.heartbeat("s1", on_gone=lambda reason: (beat.stop(), done.set()))
        beat.start()
        until(done.is_set)
        beat.stop()


def test_the_async_stop_may_be_called_from_a_callback_too(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1", "failed")
    reached = list[str]()

    async def main() -> str | None:
        async with AsyncCompanionClient(companion.url, key=companion.key, clock=clock) as client:

            async def on_gone(reason: str) -> None:
                await beat.stop()
                await asyncio.sleep(0)
                reached.append(reason)

            beat = client.heartbeat("s1", on_gone=on_gone).start()
            return await asyncio.wait_for(beat._task, DEADLINE_S)

    assert asyncio.run(main()) == "failed" and reached == ["failed"]


def test_it_ends_with_its_client(beating: Beating, companion: FakeCompanion) -> None:
    companion.add("s1")
    beating.start()
    until(lambda: companion.touches)
    if beating.kind == "sync":
        beating.client.close()
        until(lambda: not beating.beat._thread.is_alive())
    else:
        beating._run(beating.client.aclose())
        until(lambda: beating.beat._task.done())
    assert beating.gone == []


def test_a_task_of_ones_own_gets_the_reason(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    told = list[str]()

    async def on_gone(reason: str) -> None:
        await asyncio.sleep(0)
        told.append(reason)

    async def active() -> bool:
        return True

    async def main() -> str | None:
        async with AsyncCompanionClient(companion.url, key=companion.key, clock=clock) as client:
            task = asyncio.create_task(client.heartbeat("s1", on_gone=on_gone, active=active).run())
            await until_async(lambda: len(companion.touches) >= 2)
            companion.set("s1", status="terminated")
            return await task

    assert asyncio.run(main()) == "terminated" and told == ["terminated"]


def test_the_async_block_ends_it(companion: FakeCompanion) -> None:
    companion.always = stuck()

    async def main() -> None:
        async with AsyncCompanionClient(companion.url, key=companion.key, read_timeout_s=3600) as client:
            async with client.heartbeat("s1", on_gone=lambda reason: None) as beat:
                await until_async(lambda: companion.requests)
            assert beat._task is not None and beat._task.done()
            await beat.stop()

    asyncio.run(main())


@pytest.mark.parametrize("interval", [0, 1.9, -1, float("nan"), float("inf"), 3601])
def test_an_interval_is_within_reason(client: CompanionClient, interval: float) -> None:
    with pytest.raises(ValueError, match="interval_s"):
        client.heartbeat("s1", on_gone=print, interval_s=interval)


def test_what_could_never_be_sent_is_refused_at_once(client: CompanionClient) -> None:
    with pytest.raises(ValueError):
        client.heartbeat("a/b", on_gone=print)
    with pytest.raises(ValueError):
        client.heartbeat("s1", on_gone=print, source="A B")


def test_both_faces_have_the_same_verbs() -> None:
    def verbs(face: type) -> dict[str, list[str]]:
        def public(function: Callable[..., Any]) -> list[str]:
            return list(inspect.signature(function).parameters)

        return {name: public(f) for name, f in vars(face).items() if not name.startswith("_") and callable(f)}

    sync, other = verbs(CompanionClient), verbs(AsyncCompanionClient)
    other["close"] = other.pop("aclose")
    assert sync == other
