"""A page of another origin can do nothing: not to the companion, not to the pod, not to the backend, by any of their routes."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_kit import Example, NewContext, running, status_of
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Tries a request in every way that a page has, and says what it got to see of each answer.
ATTACK = """async ([method, url, tokens]) => {
  const seen = [];
  const note = async (how, request) => {
    try {
      const answer = await request();
      seen.push([how, answer.type, answer.status, answer.type === "opaque" ? "" : await answer.text()]);
    } catch { /* the browser or the server did not let it */ }
  };
  const body = ["GET", "HEAD"].includes(method) ? undefined : "{}";
  const json = { "Content-Type": "application/json" };
  const credentials = "include";
  await note("plain", () => fetch(url, { method, body, credentials }));
  await note("json", () => fetch(url, { method, body, credentials, headers: json }));
  for (const token of tokens)
    await note("token", () => fetch(url, { method, body, headers: { ...json, Authorization: `Bearer ${token}` } }));
  for (const kind of ["text/plain", "application/x-www-form-urlencoded"]) {
    const headers = { "Content-Type": kind };
    await note("blind", () => fetch(url, { method, body, mode: "no-cors", credentials, headers }));
  }
  navigator.sendBeacon(url, "{}");
  return seen;
}"""
EMBED = """async (url) => {
  const seen = [];
  const load = (tag, address) => new Promise((done) => {
    const made = Object.assign(document.createElement(tag), { src: url });
    made.onload = () => { seen.push(tag); done(); };
    made.onerror = done;
    document.body.append(made);
  });
  await load("img");
  await load("script");
  await new Promise((done) => {
    const stream = new EventSource(url, { withCredentials: true });
    stream.onopen = () => { seen.push("events"); stream.close(); done(); };
    stream.onerror = () => { stream.close(); done(); };
  });
  await new Promise((done) => {
    const socket = new WebSocket(url.replace("http", "ws"));
    socket.onopen = () => { seen.push("socket"); socket.close(); done(); };
    socket.onerror = done;
  });
  return seen;
}"""
FORM = """(url) => new Promise((done) => {
  const frame = Object.assign(document.createElement("iframe"), { name: "target" });
  const wanted = { method: "post", action: url, target: "target", enctype: "text/plain" };
  const form = Object.assign(document.createElement("form"), wanted);
  form.append(Object.assign(document.createElement("input"), { name: '{"source":"client","x":"', value: '"}' }));
  frame.onload = done;
  document.body.append(frame, form);
  form.submit();
})"""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>another</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Example]:
    yield from running("10-transient-session", tmp_path / "studio", idle_ttl_s=3000)


def routes(example: Example, session: str) -> list[tuple[str, str]]:
    """Every route that the companion publishes, with the session's id in it; those in front of it too."""
    paths = example.ask("/openapi.json")["paths"]
    found = [
        (method.upper(), path.replace("{session_id}", session).replace("{key_id}", "k-1"))
        for path, methods in paths.items()
        for method in methods
    ]
    assert ("POST", f"/v1/sessions/{session}/touch") in found and ("POST", "/v1/sessions") in found
    return found


def test_a_page_of_another_origin_can_do_nothing(
    studio: Example, page: Page, new_context: NewContext, elsewhere: str
) -> None:
    """Not even with the tokens; and with the visitor's cookies, since for a browser both pages are the same site."""
    with page.expect_response("**/session") as answer:
        page.goto(studio.url)
    handed: dict[str, Any] = answer.value.json()
    expect(page.locator("#status")).to_have_text("Your machine is ready.")
    pod = next(iter(studio.session()["urls"].values()))
    page.goto(elsewhere)  # in the same profile: its cookies are there
    before = studio.session()

    targets = [(method, studio.companion + path) for method, path in routes(studio, before["id"])]
    targets += [("POST", f"{pod}/say"), ("GET", f"{pod}/say"), ("GET", f"{pod}/atlas-access/health")]
    targets += [("POST", f"{studio.url}/session"), ("GET", f"{studio.url}/")]
    tokens = [handed["token"], handed["touch_token"], studio.key]
    seen = [
        (method, url, *one)
        for method, url in targets
        for one in page.evaluate(ATTACK, [method, url, tokens])
        if one[1] != "opaque"
    ]
    assert seen == [], "answers that the page could read"
    for url in sorted({url for _, url in targets}):
        assert page.evaluate(EMBED, url) == [], url
    for url in sorted({url for method, url in targets if method == "POST"}):
        page.evaluate(FORM, url)

    after = studio.session()
    moving = {"now", "remaining_s", "cost"}
    assert {**after, **dict.fromkeys(moving)} == {**before, **dict.fromkeys(moving)}
    assert len(studio.pods()) == 1

    stranger = new_context().new_page()  # who was never at the application: nothing is rented in their name
    stranger.goto(elsewhere)
    stranger.evaluate(ATTACK, ["POST", f"{studio.url}/session", []])
    stranger.evaluate(FORM, f"{studio.url}/session")
    assert len(studio.sessions()) == 1
    bearer = {"Authorization": f"Bearer {handed['token']}"}
    assert status_of(f"{pod}/say", **bearer) == 405  # the pod is there, and counted no word of theirs
