"""examples/11-hls in a browser: a playlist plays by its signed address alone, and no longer than its session lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from example_kit import Example, running, status_of, until
from playwright.sync_api import Page, Request, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTES = 8


@pytest.fixture
def melody(tmp_path: Path) -> Iterator[Example]:
    yield from running("11-hls", tmp_path / "melody")


def played(page: Page) -> list[Request]:
    """What was asked of the pod for one play, from the playlist to the last segment."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request) if "/hls/" in request.url else None)
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#status")).to_have_text("That was all. Play it again?")
    return seen


def test_a_playlist_plays_through_relative_addresses_and_stops_with_its_session(melody: Example, page: Page) -> None:
    page.goto(melody.url)
    asked = played(page)
    first, *segments = [urlsplit(request.url) for request in asked]
    folder, _, name = first.path.rpartition("/")
    assert name == "melody.m3u8" and folder.startswith("/atlas-access/p1.") and folder.endswith("/hls")
    assert [one.path for one in segments] == [f"{folder}/note-{number}.wav" for number in range(NOTES)]
    assert not any("authorization" in request.headers or "cookie" in request.headers for request in asked)

    pod = f"http://{first.netloc}"
    assert status_of(f"{pod}/hls/melody.m3u8") == 401
    assert status_of(asked[0].url) == 200
    assert status_of(asked[0].url.replace("/hls/", "/other/")) == 403

    played(page)  # the same pod
    assert len(melody.sessions()) == 1

    page.get_by_role("button", name="Give the machine back").click()
    expect(page.locator("#status")).to_have_text("Your machine was given back.")
    until(lambda: status_of(asked[0].url) != 200, what="the end of the playlist")
    until(lambda: melody.session()["status"] == "terminated", what="the end of the session")
    assert melody.session()["cause"] == "closed" and melody.pods() == []

    played(page)  # another one
    assert len(melody.sessions()) == 2


def test_rotating_makes_the_address_void_while_the_pod_lives(melody: Example, page: Page) -> None:
    page.goto(melody.url)
    url = played(page)[0].url
    pods = melody.pods()
    assert status_of(url) == 200
    melody.client.rotate(melody.session()["id"])
    until(lambda: status_of(url) == 403, what="a guard that knows of the rotation")
    assert melody.pods() == pods
    page.reload()
    assert played(page)[0].url != url


def test_listening_alone_keeps_the_pod(melody: Example, page: Page) -> None:
    """The page sends no heartbeat: the guard in the pod reports that segments are fetched."""
    page.goto(melody.url)
    url = played(page)[0].url
    until(lambda: melody.session()["active_source"] == "http", what="the guard's report")
    before = melody.session()["touches"]
    assert status_of(url) == 200
    until(lambda: melody.session()["touches"] > before, what="another report")
