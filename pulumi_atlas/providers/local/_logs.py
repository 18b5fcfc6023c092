"""A pod's output: stdout and stderr, put together in the order of their writing by `order.log` (see `_shim`)."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.ids import PodId
from pulumi_atlas.models import Compute
from pulumi_atlas.providers.local._pods import LocalPods
from pulumi_atlas.providers.local._waiting import finish, speaking

__all__ = ["LocalLogs", "LogReader"]

_BLOCK = 65536
_BLOCKS_AT_ONCE = 64
_POLL_S = 0.1
_NAMES = {"o": "stdout.log", "e": "stderr.log"}
_ORDER = re.compile(rb"([oe]) (\d+)\n")


class LogReader:
    """Reads on where it stopped. Not for several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at = {"o": 0, "e": 0}
        self._order_at = 0
        self._turns: deque[tuple[str, int]] = deque()
        self._rest = {"o": b"", "e": b""}
        self._skipping: set[str] = set()

    def read(self) -> list[str]:
        """The whole lines that have come since, up to a few megabytes; empty when there is nothing new."""
        lines: list[str] = []
        for _ in range(_BLOCKS_AT_ONCE):
            blocks = list(self._next_blocks())
            if not blocks:
                break
            for letter, data in blocks:
                lines += self._lines(letter, data)
        return lines

    def unfinished(self) -> list[str]:
        """What stands after the last newline, once nothing more will come."""
        rests = [self._rest[letter] for letter in ("o", "e") if letter not in self._skipping]
        return [_text(rest) for rest in rests if rest]

    def go_near_end(self, lines: int) -> None:
        """Go to a place with at least that many lines behind it, without reading what stands before."""
        sizes = {letter: self._size(letter) for letter in _NAMES}
        start = dict(sizes)
        wanted = lines + len(_NAMES)  # the first line of each stream may be a part only
        for letter, begin, end in reversed(self._segments(sizes)):
            while end > begin and wanted > 0:
                block = max(begin, end - _BLOCK)
                wanted -= self._slice(letter, block, end).count(b"\n")
                start[letter] = end = block
            if wanted <= 0:
                break
        for letter, place in start.items():
            self._at[letter] = place
            if place and self._slice(letter, place - 1, place) != b"\n":
                self._skipping.add(letter)

    def _segments(self, sizes: dict[str, int]) -> list[tuple[str, int, int]]:
        at = {"o": 0, "e": 0}
        found = []
        for letter, upto in [*self._new_turns(), *sizes.items()]:
            if upto > at[letter]:
                found.append((letter, at[letter], upto))
                at[letter] = upto
        self._order_at = 0
        return found

    def _next_blocks(self) -> Iterator[tuple[str, bytes]]:
        """The next block of the oldest stream; when no turn is left, what both have more than the turns say."""
        self._turns.extend(self._new_turns())
        while self._turns:
            letter, upto = self._turns[0]
            if data := self._take(letter, upto):
                yield letter, data
                return
            self._turns.popleft()
        for letter in _NAMES:
            if data := self._take(letter, self._size(letter)):
                yield letter, data

    def _new_turns(self) -> list[tuple[str, int]]:
        try:
            with (self._folder / "order.log").open("rb") as file:
                file.seek(self._order_at)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._order_at += len(whole)
        return [(letter.decode(), int(upto)) for letter, upto in _ORDER.findall(whole)]

    def _take(self, letter: str, upto: int) -> bytes:
        begin = self._at[letter]
        if upto <= begin:
            return b""
        data = self._slice(letter, begin, min(upto, begin + _BLOCK))
        self._at[letter] += len(data)
        return data

    def _slice(self, letter: str, begin: int, end: int) -> bytes:
        try:
            with (self._folder / _NAMES[letter]).open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except OSError:
            return b""

    def _size(self, letter: str) -> int:
        try:
            return (self._folder / _NAMES[letter]).stat().st_size
        except OSError:
            return 0

    def _lines(self, letter: str, data: bytes) -> list[str]:
        *whole, self._rest[letter] = (self._rest[letter] + data).split(b"\n")
        if whole and letter in self._skipping:
            self._skipping.discard(letter)
            whole = whole[1:]
        return [_text(line) for line in whole]


class LocalLogs(LocalPods):
    """Reading the output of pods."""

    async def logs(self, pod_id: PodId, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[str]:
        """Lines of stdout and stderr in the order of their writing; all runs of the pod, or the last `tail` lines.

        With `follow`, goes on until the command has ended or the pod is gone. Raises NotFound.
        """
        with speaking("logs"):
            await self._pod_of_log(pod_id)
            follow = follow and await self._is_live(pod_id)
            reader = LogReader(self._store.folder("pods", pod_id))
            if tail is not None:
                for line in await finish(_last, reader, tail, whole=not follow):
                    yield line
                if not follow:
                    return
            while True:
                live = follow and await self._is_live(pod_id)
                while lines := await finish(reader.read):
                    for line in lines:
                        yield line
                if not live:
                    break
                await asyncio.sleep(_POLL_S)
            for line in reader.unfinished():
                yield line

    async def _is_live(self, pod_id: PodId) -> bool:
        try:
            return (await self._pod_of_log(pod_id)).status in ("provisioning", "running")
        except NotFound:
            return False

    async def _pod_of_log(self, pod_id: PodId) -> Compute:
        try:
            return await self.get_compute(pod_id)
        except AtlasError as error:
            error.operation = "logs"
            raise


def _last(reader: LogReader, count: int, *, whole: bool) -> list[str]:
    reader.go_near_end(count)
    lines: deque[str] = deque(maxlen=max(count, 0))
    while more := reader.read():
        lines.extend(more)
    if whole:
        lines.extend(reader.unfinished())
    return list(lines)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").removesuffix("\r")
