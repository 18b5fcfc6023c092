"""examples/10-transient-session in a browser: its pod lives as long as somebody uses the page, and no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_kit import Example, NewContext, running, until
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

IDLE_S = 6.0
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Example]:
    """Impatient: what is not used goes in seconds."""
    yield from running("10-transient-session", tmp_path / "studio", idle_ttl_s=IDLE_S, warn_before_s=3)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Example]:
    yield from running("10-transient-session", tmp_path / "studio", idle_ttl_s=600)


def opened(page: Page, example: Example) -> Page:
    page.goto(example.url)
    expect(page.locator("#status")).to_have_text("Your machine is ready.")
    return page


def say(page: Page, words: str) -> Locator:
    page.get_by_label("Say something").fill(words)
    page.get_by_role("button", name="Send").click()
    answer = page.locator("#answers li").first
    expect(answer).to_have_text(words[::-1])
    return answer


def move(page: Page) -> None:
    for x in (10, 20):
        page.mouse.move(x, 10)


def state(example: Example) -> dict[str, Any]:
    return example.session()


def ended(example: Example) -> dict[str, Any]:
    return until(lambda: state(example)["status"] == "terminated" and state(example), what="the end of the session")


def test_a_pod_lives_while_its_page_is_used_and_goes_with_its_tab(studio: Example, page: Page) -> None:
    opened(page, studio)
    say(page, "hello pod")

    def used_for_long() -> bool:
        move(page)
        now = state(studio)
        assert now["status"] == "ready"
        return bool(now["now"] - now["created_at"] > 3 * IDLE_S + 1)

    until(used_for_long, what="a session that is older than three times its idle time")
    assert state(studio)["active_source"] in ("client", "http")
    say(page, "still there")
    pods = studio.pods()
    assert len(pods) == 1

    page.close()
    over = ended(studio)
    assert over["cause"] == "idle" and studio.pods() == []
    events = list(studio.client.events(over["id"], last_event_id="0"))
    assert events[-1].data["status"] == "terminated"
    told = [event.data for event in events if event.event == "warning"][-1]
    assert (told["id"], told["deadline_kind"]) == (over["id"], "idle")


def test_a_page_that_nobody_looks_at_keeps_nothing(studio: Example, page: Page) -> None:
    opened(page, studio)
    first = state(studio)["id"]
    page.evaluate(HIDE)
    why = page.locator("#why")

    def gone() -> bool:
        move(page)  # as a mouse that passes over a window behind others
        return why.is_visible()

    until(gone, what="the end of a page that nobody looks at")
    expect(why).to_have_text("Your machine has gone because it was not used for 6 seconds.")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    ended(studio)

    page.reload()  # nothing is rented by that
    expect(why).to_have_text(re.compile("not used"))
    assert [one["id"] for one in studio.sessions()] == [first]
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#status")).to_have_text("Your machine is ready.")
    say(page, "again")
    assert len(studio.sessions()) == 2


def test_a_warning_names_the_time_left_and_extending_keeps_the_pod(studio: Example, page: Page) -> None:
    opened(page, studio)
    warning = page.locator("#warning")
    expect(warning).to_be_visible()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^[0-9] s left$"))
    page.get_by_role("button", name="Keep it").press("Enter")  # by keyboard
    expect(warning).to_be_hidden()
    page.evaluate(HIDE)  # from here on nothing is activity
    extended = until(lambda: state(studio)["remaining_s"] > 500 and state(studio), what="the extension")
    assert extended["deadline_kind"] == "idle"
    until(lambda: state(studio)["now"] - state(studio)["active_at"] > 2 * IDLE_S, what="two idle times")
    assert state(studio)["status"] == "ready"
    studio.client.close_session(extended["id"])
    expect(page.locator("#why")).to_have_text("Your machine was given back.")


def test_a_second_tab_and_a_reload_share_the_pod(patient: Example, new_context: NewContext) -> None:
    context = new_context()
    one, two = opened(context.new_page(), patient), opened(context.new_page(), patient)
    say(one, "first")
    say(two, "second")
    opened(one, patient)
    say(one, "third")
    assert len(patient.sessions()) == 1 and len(patient.pods()) == 1
    other = opened(new_context().new_page(), patient)
    say(other, "somebody else")
    assert len(patient.sessions()) == 2 and len(patient.pods()) == 2
    assert len({session["owner"] for session in patient.sessions()}) == 2


def test_the_page_goes_on_when_the_companion_was_away(patient: Example, page: Page) -> None:
    """Events go on behind the last one, and what happened meanwhile is shown."""
    opened(page, patient)
    patient.restart_companion()
    say(page, "the pod did not notice")
    patient.client.close_session(state(patient)["id"])
    expect(page.locator("#why")).to_have_text("Your machine was given back.")


def test_no_secret_is_in_the_page_or_in_an_address(patient: Example, page: Page) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    opened(page, patient)
    say(page, "hello")
    assert any("/say" in url for url in urls) and any("/events" in url for url in urls)
    assert "atlas_" not in " ".join(urls) + page.content()
    kept = page.evaluate("[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)]")
    assert kept == ["", "{}", "{}"]
