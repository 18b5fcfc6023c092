"""Answers of a webhook's receiver that are made to break whoever reads them, and backups under an open umask."""

from __future__ import annotations

import asyncio
import os
import stat
from ipaddress import ip_network
from pathlib import Path

import pytest

from pulumi_atlas.rules.clock import SystemClock
from pulumi_atlas.rules.sessions.webhooks import MOST_ASKED_S, judge_answer
from pulumi_atlas.runtime.store import open_store
from pulumi_atlas.runtime.store.backup import backup
from pulumi_atlas.runtime.webhooks._delivery import Door

BEYOND = "9" * 19


@pytest.mark.parametrize(
    "asked",
    [
        f"Mon, 01 Jan 2024 00:00:00 +{BEYOND}",
        f"Mon, 01 Jan {BEYOND}99 00:00:00 GMT",
        f"Mon, 01 Jan 2024 {BEYOND}99:00:00 GMT",
        f"Mon, {BEYOND}99 Jan 2024 00:00:00 GMT",
        "9" * 5000,
        "Mon, 31 Dec 9999 23:59:59 -2359",
        "-1",
        "1e999",
        "NaN",
    ],
)
def test_no_answer_of_one_webhook_stops_the_others(asked: str) -> None:
    """What is raised while an answer is read ends the sending of all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 429 Less\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        door = Door(f"http://127.0.0.1:{port}/", clock=SystemClock(), allowed=[ip_network("127.0.0.0/8")])
        try:
            got = await door.post("{}", {})
        finally:
            await door.aclose()
            server.close()
            await server.wait_closed()
        assert got.status == 429
        judged = judge_answer(got, attempt=1, chance=0.0)
        assert judged.outcome == "again" and judged.wait_s <= MOST_ASKED_S

    asyncio.run(work())


def test_nobody_else_may_write_where_a_backup_is_whatever_the_umask(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"

    async def make() -> None:
        store = open_store(url)
        await store.open(name="x", now=1.0)
        await store.aclose()

    asyncio.run(make())
    before = os.umask(0)
    try:
        backup(url, tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    found = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert {"a", "b", "c", "store.db", "backup.json"} <= {path.name for path in found}
    assert [path.name for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
