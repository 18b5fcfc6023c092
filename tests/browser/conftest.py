"""A Chromium for the tests of pages: one per module and worker, a fresh profile for each test, nothing beyond loopback.

The kit beside these tests can be imported by its bare name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from example_kit import NewContext

ENSURE = Path(__file__).resolve().parents[2] / "tools" / "browser" / "ensure"
ARGUMENTS = ("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
#: What a page is waited for; far more than it takes.
PATIENCE_MS = 60_000.0
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the browser is; without one the test fails with what to do about it."""
    done = subprocess.run([sys.executable, ENSURE, "--installed"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr.strip(), pytrace=False)
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Of one module: playwright keeps an event loop running in this thread, which tests of other modules must not find."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "PULUMI_"))}
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=chromium_path, args=ARGUMENTS, env=environ, chromium_sandbox=os.geteuid() != 0
        )
        yield made
        made.close()


@pytest.fixture
def uncaught() -> Iterator[list[str]]:
    """Errors that a page did not catch; one that is left there fails the test."""
    errors: list[str] = []
    yield errors
    assert errors == []


@pytest.fixture
def new_context(browser: Browser, uncaught: list[str]) -> Iterator[NewContext]:
    """Makes a visitor with a profile of his own."""
    opened: list[BrowserContext] = []

    def new(**options: object) -> BrowserContext:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        context.on("weberror", lambda event: uncaught.append(str(event.error)))
        opened.append(context)
        return context

    yield new
    for context in opened:
        context.close()


@pytest.fixture
def page(new_context: NewContext) -> Page:
    return new_context().new_page()
