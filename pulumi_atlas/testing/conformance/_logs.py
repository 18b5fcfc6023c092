"""Logs: every line, in its order, as often as asked."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_atlas.errors import NotFound
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["LogConformance"]

_LINES = ("one", "two  with spaces", "drei äöü", "four")


class LogConformance(Suite):
    """The ability `logs`."""

    @story
    async def test_the_lines_of_a_command_come_in_their_order_without_newlines(self, stage: Stage) -> None:
        stage.need("logs")
        pod = await stage.ended(0, _LINES)
        assert [line for line in await _read(stage, pod.id) if line in _LINES] == list(_LINES)

    @story
    async def test_tail_gives_the_last_lines(self, stage: Stage) -> None:
        stage.need("logs")
        pod = await stage.ended(0, _LINES)
        whole = await _read(stage, pod.id)
        for tail in (0, 1, 2, len(whole), len(whole) + 10):
            assert await _read(stage, pod.id, tail=tail) == whole[max(0, len(whole) - tail) :]

    @story
    async def test_following_ends_when_the_command_has_ended(self, stage: Stage) -> None:
        stage.need("logs")
        pod = await stage.pod(stage.harness.ending_spec(3, _LINES))
        stage.harness.talk(pod.id, _LINES)
        assert [line for line in await _read(stage, pod.id, follow=True) if line in _LINES] == list(_LINES)
        await stage.becomes(pod.id, "failed")

    @story
    async def test_reading_twice_gives_the_same_and_changes_nothing(self, stage: Stage) -> None:
        stage.need("logs")
        pod = await stage.ended(0, _LINES)
        assert await _read(stage, pod.id) == await _read(stage, pod.id)

    @story
    async def test_logs_of_what_is_not_there_raise_not_found(self, stage: Stage) -> None:
        stage.need("logs")
        with pytest.raises(NotFound):
            await _read(stage, stage.harness.missing_id)


async def _read(stage: Stage, pod_id: str, **options: Any) -> list[str]:
    return [line async for line in stage.provider.logs(pod_id, **options)]
