"""Logs of local pods."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.errors import NotFound
from pulumi_atlas.providers.local._logs import LogReader

BOTH = """
import sys, time
for n in range(5):
    print("out", n, flush=True); time.sleep(0.02)
    print("err", n, file=sys.stderr, flush=True); time.sleep(0.02)
"""
EXPECTED = [f"{stream} {n}" for n in range(5) for stream in ("out", "err")]


def test_both_streams_are_read_in_the_order_of_writing_and_kept_apart_on_disk(world: Any) -> None:
    pod = world.becomes(world.python(BOTH), "finished")
    assert world.logs(pod) == EXPECTED
    folder = Path(pod.raw["folder"])
    assert (folder / "stdout.log").read_text().splitlines() == EXPECTED[0::2]
    assert (folder / "stderr.log").read_text().splitlines() == EXPECTED[1::2]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 10, 11, 1000])
def test_the_last_lines_are_the_end_of_all_lines(world: Any, count: int) -> None:
    pod = world.becomes(world.python(BOTH), "finished")
    assert world.logs(pod, tail=count) == EXPECTED[max(0, len(EXPECTED) - count) :]


def test_the_order_goes_on_over_restarts(world: Any) -> None:
    pod = world.becomes(world.python(BOTH), "finished")
    world.start(pod)
    world.becomes(pod, "finished")
    assert world.logs(pod) == EXPECTED * 2
    assert world.logs(pod, tail=13) == (EXPECTED * 2)[-13:]


def test_following_goes_on_until_the_command_has_ended(world: Any) -> None:
    code = "import time\nfor n in range(5): print('line', n); time.sleep(.1)\nprint('no newline', end='')"
    pod = world.python(code)
    assert world.logs(pod, follow=True) == [*(f"line {n}" for n in range(5)), "no newline"]
    assert world.get(pod).status == "finished"
    assert world.logs(pod, follow=True, tail=2) == world.logs(pod, tail=2) == ["line 4", "no newline"]


def test_following_ends_when_the_pod_is_terminated(world: Any) -> None:
    pod = world.create("sh", "-c", "echo here; sleep 1000")

    async def follow() -> list[str]:
        lines = []
        async for line in world.provider.logs(pod.id, follow=True):
            lines.append(line)
            await world.provider.terminate(pod.id)
        return lines

    assert world.run(follow()) == ["here"]


def test_a_line_is_told_while_the_command_still_runs(world: Any) -> None:
    pod = world.create("sh", "-c", "echo first; sleep 1000")

    async def first() -> str:
        stream = world.provider.logs(pod.id, follow=True)
        line = await asyncio.wait_for(anext(stream), 20)
        await stream.aclose()
        return str(line)

    assert world.run(first()) == "first"


def test_what_is_no_text_is_still_shown(world: Any) -> None:
    pod = world.becomes(world.python(r"import os;os.write(1,b'a\xff\r\n\n\xe2\x82\xac')"), "finished")
    assert world.logs(pod) == ["a�", "", "€"]


@pytest.mark.slow
def test_much_output_is_kept_whole(world: Any) -> None:
    pod = world.python("for n in range(200000): print(f'line {n:06} ' + 'x' * 40)")
    world.becomes(pod, "finished")
    lines = world.logs(pod)
    assert len(lines) == 200_000
    assert lines[-1].startswith("line 199999 ")
    assert world.logs(pod, tail=3) == lines[-3:]


def test_the_last_lines_of_a_large_log_are_found_from_its_end(tmp_path: Path) -> None:
    out = "".join(f"out {n}\n" for n in range(100_000))
    (tmp_path / "stdout.log").write_text(out)
    (tmp_path / "stderr.log").write_text("early\nlate\n")
    (tmp_path / "order.log").write_text(f"o 0\ne 0\ne 6\no {len(out)}\n")
    reader = LogReader(tmp_path)
    reader.go_near_end(3)
    read: list[str] = []
    while more := reader.read():
        read += more
    assert read[-3:] == ["out 99998", "out 99999", "late"]
    assert len(read) < 20_000


def test_logs_without_an_order_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("a\nb\n")
    (tmp_path / "stderr.log").write_text("c\nd")
    reader = LogReader(tmp_path)
    assert reader.read() == ["a", "b", "c"]
    assert reader.unfinished() == ["d"]


def test_logs_of_what_is_not_there_are_not_found(world: Any) -> None:
    with pytest.raises(NotFound):
        world.run(anext(world.provider.logs("pod-0123456789ab")))
