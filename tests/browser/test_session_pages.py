"""The pages of the examples that have a companion: all their commands are run, and so is what they tell to do in a browser."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from example_kit import EXAMPLES, copied, environment, status_of, until
from playwright.sync_api import Page, expect

from pulumi_atlas.processes import processes_with, send_signal
from tests.e2e.console import Console, shown

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: What a page tells to do in a browser, in a line of its own.
ACT = re.compile(r"^\*\*(?:Open <(?P<url>.+?)>|(?P<close>Close the tab))\*\*")
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("[0-9][0-9]-*/atlas.yaml"))


def talk(page: Page) -> None:
    expect(page.locator("#status")).to_have_text("Your machine is ready.")
    page.get_by_label("Say something").fill("abc")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answers li")).to_have_text("cba")


def listen(page: Page) -> None:
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#status")).to_have_text("That was all. Play it again?")


USES: dict[str, Callable[[Page], None]] = {"10-transient-session": talk, "11-hls": listen}


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """What a page that fails half-way leaves behind ends with the test."""
    yield
    for process in processes_with("ATLAS_LOCAL_DIR", str(tmp_path / "atlas" / "local")):
        with contextlib.suppress(ProcessLookupError):
            send_signal(process, signal.SIGKILL)


def test_each_such_example_is_used_here() -> None:
    assert sorted(USES) == FOLDERS


@pytest.mark.parametrize("name", USES)
def test_an_example_does_what_its_page_says(name: str, page: Page, tmp_path: Path, nothing_left: None) -> None:
    folder = tmp_path / "example"
    copied(name, folder)
    text = folder / "README.md"
    acts = [(number, found) for number, row in enumerate(text.read_text().splitlines(), 1) if (found := ACT.match(row))]
    assert acts, "the page tells to open no page"
    console = Console(folder, environment(), tmp_path / "tools")
    for step in shown(text):
        while acts and acts[0][0] < step.line:
            _, act = acts.pop(0)
            if act["close"]:
                page.close()
                continue
            url = act["url"]
            until(lambda url=url: status_of(url), what="the page")  # it was started a moment ago
            page.goto(url)
            USES[name](page)
        console.check(text, step)
    assert acts == [], "the page tells to do something behind its last command"
