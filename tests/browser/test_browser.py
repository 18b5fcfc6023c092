"""The browser that the tests of pages are run in: it reaches this machine and nothing else, and forgets between tests."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>here</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("round", [1, 2])
def test_a_page_of_this_machine_opens_and_nothing_is_kept(page: Page, site: str, round: int) -> None:
    page.goto(site)
    assert page.title() == "here"
    assert page.evaluate("localStorage.getItem('seen')") is None
    page.evaluate("localStorage.setItem('seen', '1')")


@pytest.mark.parametrize("address", ["http://example.com/", "http://192.0.2.1/"])
def test_nothing_beyond_this_machine_is_reached(page: Page, site: str, address: str) -> None:
    page.goto(site)
    assert page.evaluate("url => fetch(url, {mode: 'no-cors'}).then(() => 'reached', () => 'not')", address) == "not"
    with pytest.raises(Exception, match="ERR_"):
        page.goto(address)


def test_an_error_that_a_page_does_not_catch_is_seen(page: Page, uncaught: list[str], site: str) -> None:
    page.goto(site)
    with page.expect_event("pageerror"):
        page.evaluate("void setTimeout(() => { throw new Error('thrown') })")
    while not uncaught:
        page.wait_for_timeout(10)
    assert "thrown" in uncaught.pop()
