"""One companion for one store, tools beside it, and what a killed process leaves behind."""

# ruff: noqa: ASYNC240
from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_kit import NOW, a_birth, a_key, a_session, an_event, in_another_process

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.store import open_for_tools, open_store
from pulumi_atlas.runtime.store._lock import StoreLock
from pulumi_atlas.runtime.store.contract import StoreBusy, StoreUnavailable

pytestmark = pytest.mark.anyio

HOLD = """
import asyncio, sys
from pulumi_atlas.runtime.store import open_store

async def main():
    store = open_store(sys.argv[1])
    await store.open(name="tests", now=1_800_000_000.0)
    print("open", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await store.aclose()

asyncio.run(main())
"""

CHANGE = """
import asyncio, sys
from store_kit import NOW, a_birth, a_session, an_event, an_answer
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.runtime.store.contract import TouchRow

async def main():
    store = open_store(sys.argv[1])
    await store.open(name="tests", now=NOW)
    print("open", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "change":
        await store.change("s1", 0, {"state": "terminating"}, [an_event(), an_event()], [a_birth(state="dead")])
    elif sys.argv[2] == "add":
        await store.add(a_session("s2"), [an_event("s2")], an_answer(session_id="s2"))
    else:
        await store.flush([TouchRow("s1", NOW + 9, "http", 5)], now=NOW + 9)
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'atlas.db'}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def hold(url: str, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = in_another_process(HOLD, url)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


async def test_a_second_companion_is_told_who_has_the_store(url: str, started: list[subprocess.Popen[str]]) -> None:
    first = hold(url, started)
    with pytest.raises(StoreBusy, match=f"process {first.pid} on .* \\(since 2027-01-15 08:00:00 UTC\\) has the store"):
        await open_store(url).open(name="tests", now=NOW)


async def test_the_lock_ends_with_its_holder_however_it_ends(url: str, started: list[subprocess.Popen[str]]) -> None:
    for end in ("killed", "closed"):
        process = hold(url, started)
        if end == "killed":
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            process.communicate("")
            assert process.returncode == 0
        store = open_store(url)
        await store.open(name="tests", now=NOW)
        await store.aclose()


async def test_two_companions_in_one_process_exclude_each_other_too(url: str, tmp_path: Path) -> None:
    first = open_store(url)
    await first.open(name="tests", now=NOW)
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "atlas.db")
    for other in (url, f"sqlite:///{link}"):
        with pytest.raises(StoreBusy, match=f"process {os.getpid()} "):
            await open_store(other).open(name="tests", now=NOW)
    await first.add(a_session(), [])  # whoever was refused took nothing with it
    await first.aclose()


async def test_who_is_refused_changes_nothing(url: str, started: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    hold(url, started)
    before = json.loads((tmp_path / "atlas.db.lock").read_text())
    with pytest.raises(StoreBusy):
        await open_store(url).open(name="tests", now=NOW + 50)
    assert json.loads((tmp_path / "atlas.db.lock").read_text()) == before


def test_a_lock_file_that_says_nothing_sensible_still_locks(tmp_path: Path) -> None:
    lock = StoreLock.take(tmp_path / "x", NOW)
    for content in ("", "nonsense", "[]", '{"pid": "x"}'):
        (tmp_path / "x.lock").write_text(content)
        with pytest.raises(StoreBusy, match="another process has the store"):
            StoreLock.take(tmp_path / "x", NOW)
    lock.release()
    lock.release()
    StoreLock.take(tmp_path / "x", NOW).release()


async def test_a_removed_lock_file_is_made_anew(url: str, tmp_path: Path) -> None:
    store = open_store(url)
    await store.open(name="tests", now=NOW)
    (tmp_path / "atlas.db.lock").unlink()
    await store.add(a_session(), [])
    with pytest.raises(StoreBusy, match=f"process {os.getpid()} "):
        await open_store(url).open(name="tests", now=NOW)
    await store.aclose()


async def test_a_companion_whose_lock_another_one_has_writes_nothing(url: str, tmp_path: Path) -> None:
    first, second = open_store(url), open_store(url)
    await first.open(name="tests", now=NOW)
    await first.add(a_session(), [])
    (tmp_path / "atlas.db.lock").unlink()
    await second.open(name="tests", now=NOW)
    for work in (first.change("s1", 0, {}, [an_event()]), first.flush([], now=NOW + 5)):
        with pytest.raises(StoreUnavailable, match="was removed, and process"):
            await work
    changed, events = await second.change("s1", 0, {}, [an_event()])
    assert (changed.version, events[0].number) == (1, 1)
    assert (await second.custody()).alive_at is None
    await first.aclose()
    await second.change("s1", 1, {})
    await second.aclose()


# -- tools


async def test_a_tool_works_beside_a_running_companion(url: str, started: list[subprocess.Popen[str]]) -> None:
    process = hold(url, started)
    tool = open_for_tools(url)
    custody = await tool.open(name="", now=NOW)
    assert (custody.name, custody.frozen) == ("tests", "")
    await tool.add_key(a_key())
    await tool.aclose()
    process.communicate("")
    companion = open_store(url)
    await companion.open(name="tests", now=NOW)
    assert list(await companion.keys()) == [a_key()]
    await companion.aclose()


async def test_a_companion_sees_a_key_that_a_tool_made(url: str) -> None:
    companion, tool = open_store(url), open_for_tools(url)
    await companion.open(name="tests", now=NOW)
    await tool.open(name="", now=NOW)
    await tool.add_key(a_key())
    assert list(await companion.keys()) == [a_key()]
    await asyncio.gather(
        *(companion.add(a_session(f"c{n}"), [an_event()]) for n in range(40)),
        *(tool.note([an_event(None)]) for _ in range(40)),
    )
    assert [one.number for one in await companion.events(after=0)] == list(range(1, 81))
    await tool.aclose()
    await companion.add(a_session("after"), [])
    await companion.aclose()


async def test_a_tool_makes_no_store_by_a_mistyped_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no store at"):
        await open_for_tools(url).open(name="", now=NOW)
    assert list(tmp_path.glob("atlas*")) in ([], [tmp_path / "atlas"])


async def test_a_store_that_a_tool_made_gets_its_name_from_the_first_companion(url: str) -> None:
    tool = open_for_tools(url, may_create=True)
    made = await tool.open(name="", now=NOW)
    await tool.aclose()
    assert made.name == ""
    companion = open_store(url)
    custody = await companion.open(name="tests", now=NOW)
    assert (custody.name, custody.deployment_id, custody.frozen) == ("tests", made.deployment_id, "")
    await companion.aclose()
    with pytest.raises(ConfigError, match="'tests', not to 'other'"):
        await open_store(url).open(name="other", now=NOW)


# -- a process that dies in the middle


async def crash(url: str, verb: str, point: str, folder: Path, started: list[subprocess.Popen[str]]) -> None:
    """Kill a process that is held at the failpoint, in the commit of that verb."""
    store = open_store(url)
    await store.open(name="tests", now=NOW)
    await store.set_webhooks([])
    await store.add(a_session(), [an_event()])
    await store.aclose()
    marks = folder / "marks"
    marks.mkdir()
    process = in_another_process(CHANGE, url, verb, ATLAS_FAILPOINT=point, ATLAS_FAILPOINT_DIR=str(marks))
    started.append(process)
    assert process.stdout is not None
    assert process.stdin is not None

    async def until_held() -> None:
        while not any(marks.iterdir()):
            assert process.poll() is None
            await asyncio.sleep(0.02)

    assert process.stdout.readline() == "open\n"  # opening a store that is as it should be writes nothing
    process.stdin.write("\n")
    process.stdin.flush()
    async with asyncio.timeout(60):
        await until_held()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("verb", ["change", "add", "flush"])
@pytest.mark.parametrize(("point", "made"), [("store.commit", False), ("store.committed", True)])
async def test_a_killed_process_leaves_all_or_nothing(
    url: str, verb: str, point: str, made: bool, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    await crash(url, verb, point, tmp_path, started)
    store = open_store(url)
    custody = await store.open(name="tests", now=NOW)
    try:
        session = await store.get("s1")
        assert session is not None
        last = (await store.event_range())[1]
        births = list(await store.births())
        if verb == "change":
            wanted = ("terminating", 1, 3, [a_birth(state="dead")]) if made else ("ready", 0, 1, [])
            assert (session.state, session.version, last, births) == wanted
        elif verb == "add":
            assert (await store.get("s2") is not None) is made
            assert (await store.answered("caller", "k") is not None) is made
            assert last == (2 if made else 1)
        else:
            assert session.touches == (5 if made else 0)
            assert custody.alive_at == (NOW + 9 if made else None)
        assert [one.number for one in await store.events(after=0)] == list(range(1, last + 1))
        assert (await store.note([an_event(None)]))[0].number == last + 1
    finally:
        await store.aclose()
