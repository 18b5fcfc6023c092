"""Runs the client's verbs for one command: progress, and a Ctrl-C that ends waits and says what is left."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pulumi_atlas.cli._output import Out
from pulumi_atlas.errors import Interrupted

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas, Stop

__all__ = ["Left", "Stopped", "Where", "perform"]

T = TypeVar("T")

#: Seconds that a write gets to end in order after the first Ctrl-C.
_PATIENCE_S = 2.5


@dataclass(frozen=True)
class Left:
    """What an interrupted command leaves behind: a sentence, and the things that are there now as JSON values."""

    sentence: str
    things: tuple[dict[str, str], ...] = ()


class Stopped(Interrupted):
    """The command was interrupted; its hint is the sentence of `left`."""

    def __init__(self, left: Left) -> None:
        super().__init__("stopped by Ctrl-C", hint=left.sentence)
        self.left = left


class Where:
    """Which provider and account a command is about, as given."""

    def __init__(self, provider: str | None, account: str | None) -> None:
        self.provider, self.account = provider, account

    def flags(self, provider: str | None = None) -> str:
        """The options that reach the same place from another command."""
        name = provider or self.provider
        words = [f"--provider {name}"] if name else []
        return " ".join([*words, *([f"--account {self.account}"] if self.account else [])])


def perform(
    out: Out,
    where: Where,
    work: Callable[[AsyncAtlas], Awaitable[T]],
    *,
    doing: str | None = None,
    writes: bool = False,
    left: Callable[[], Left] | None = None,
) -> T:
    """Run `work` with an open client. `doing` is shown while it lasts (None: it prints by itself).

    With `writes`, a Ctrl-C first ends the waits only, so that what was begun is recorded; a second one, or time, cancels.
    Raises what `work` raises, and Stopped with what `left` says about what is left behind.
    """
    import asyncio  # here and below, so that help and completion do not pay for it

    from pulumi_atlas.client import AsyncAtlas, Stop

    async def attended(say: Callable[[str], None]) -> T:
        stop = Stop()
        async with AsyncAtlas(where.provider, account=where.account, stop=stop, say=say) as atlas:
            return await _attended(work(atlas), stop, patient=writes)

    try:
        if doing is None:
            return asyncio.run(attended(lambda line: None))
        with out.progress(doing) as say:
            return asyncio.run(attended(say))
    except Interrupted:
        raise Stopped(left() if left else Left("nothing was changed")) from None


async def _attended(work: Awaitable[T], stop: Stop, *, patient: bool) -> T:
    import asyncio

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    asked = 0

    def interrupt() -> None:
        nonlocal asked
        asked += 1
        stop.interrupt("Ctrl-C")
        if asked == 1 and patient:
            loop.call_later(_PATIENCE_S, task.cancel)
        else:
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in signals:
            loop.add_signal_handler(number, interrupt)
    except (ValueError, RuntimeError):
        return await task  # not the main thread: signals are somebody else's
    try:
        return await task
    except asyncio.CancelledError:
        if asked:
            raise Interrupted("stopped by Ctrl-C") from None
        raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
