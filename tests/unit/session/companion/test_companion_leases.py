"""What a session is opened with, what is told of it, waiting for it, and the URLs that a companion signs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from companion_kit import Face, FakeClock, FakeCompanion, answer, stuck

from atlas_session.companion import BadAnswer, CompanionClient, NoSuchSession, Unreachable
from atlas_session.companion._connection import Connection

LEASE = {
    "idle_ttl_s": 2.5,
    "max_lifetime_s": 3600,
    "warn_before_s": 0,
    "on_idle": "stop",
    "paused_ttl_s": 60,
    "budget": 1.5,
    "auth": "signed_url",
    "labels": {"team": "a"},
}


def test_a_lease_is_asked_for_field_by_field(face: Face, companion: FakeCompanion) -> None:
    face.open_session(template="notebook", owner="user-7", **LEASE)
    assert companion.asked == [{"template": "notebook", "owner": "user-7", **LEASE}]


@pytest.mark.parametrize("name", list(LEASE))
def test_what_is_not_asked_for_is_not_sent(face: Face, companion: FakeCompanion, name: str) -> None:
    face.open_session(template="notebook", **{name: LEASE[name]})
    assert companion.asked == [{"template": "notebook", name: LEASE[name]}]


def test_the_same_key_with_another_lease_is_another_request(face: Face, companion: FakeCompanion) -> None:
    face.open_session(template="a", idle_ttl_s=5, idempotency_key="mine")
    with pytest.raises(Exception, match="another body"):
        face.open_session(template="a", idle_ttl_s=6, idempotency_key="mine")
    assert companion.opened == 1


def test_everything_that_is_told_of_a_session_is_read(face: Face, companion: FakeCompanion) -> None:
    told = {
        "state": "ready",
        "labels": {"team": "a"},
        "auth": "bearer",
        "deadline": 1_800_000_100,
        "deadline_kind": "idle",
        "remaining_s": 100.5,
        "active_at": 1_800_000_000,
        "active_source": "client",
        "cause": "usable",
        "cost_per_hour": 0.5,
    }
    session = face.get_session(companion.add("s1", **told))
    assert (session.state, session.status, session.is_ready) == ("ready", "ready", True)
    for name in set(told) - {"cost_per_hour"}:
        assert getattr(session, name) == told[name], name


def test_an_older_companion_tells_less(face: Face, companion: FakeCompanion) -> None:
    session = face.get_session(companion.add("s1", "paused"))
    assert (session.deadline_kind, session.remaining_s, session.active_at, session.cause) == (None, None, None, None)
    assert (session.labels, session.state, session.is_ready) == ({}, "paused", False)


@pytest.mark.parametrize(
    "wrong", [{"remaining_s": "5"}, {"labels": {"a": 1}}, {"labels": ["a"]}, {"deadline_kind": 1}, {"active_at": True}]
)
def test_a_field_of_the_wrong_kind_is_a_bad_answer(face: Face, companion: FakeCompanion, wrong: dict[str, Any]) -> None:
    companion.add("s1", **wrong)
    with pytest.raises(BadAnswer):
        face.get_session("s1")


def test_waiting_is_asked_of_the_companion(face: Face, companion: FakeCompanion) -> None:
    face.open_session(template="a", wait="ready", timeout_s=2.5)
    face.open_session(template="a", wait="ready")
    face.get_session("s1", wait="ready", timeout_s=300)
    assert companion.requests == [
        "POST /v1/sessions?wait=ready&timeout_s=2.5",
        "POST /v1/sessions?wait=ready&timeout_s=60",
        "GET /v1/sessions/s1?wait=ready&timeout_s=300",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"wait": "gone"},
        {"wait": True},
        {"timeout_s": 5},
        {"wait": "ready", "timeout_s": 0},
        {"wait": "ready", "timeout_s": 301},
        {"wait": "ready", "timeout_s": float("nan")},
    ],
)
def test_a_wait_that_makes_no_sense_is_not_sent(face: Face, companion: FakeCompanion, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        face.open_session(template="a", **options)
    with pytest.raises(ValueError):
        face.get_session("s1", **options)
    assert companion.requests == []


def test_the_answer_to_a_wait_may_take_as_much_longer(
    client: CompanionClient, companion: FakeCompanion, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the time for each read and that for the whole answer; and a kept connection has the usual ones again."""
    seen: list[tuple[float, float]] = []
    ask = Connection.ask

    def noting(self: Connection, *args: Any) -> Any:
        assert self.deadline is not None
        seen.append((self.read_s, self.deadline - clock.monotonic()))
        return ask(self, *args)

    monkeypatch.setattr(Connection, "ask", noting)
    companion.add("s1")
    client.get_session("s1", wait="ready", timeout_s=40)
    client.get_session("s1")
    client.open_session(template="a", wait="ready", timeout_s=7)
    assert seen == [(55.0, 55.0), (15.0, 15.0), (22.0, 22.0)]
    assert companion.connections == 1


def test_a_wait_does_not_outlive_the_client(companion: FakeCompanion, clock: FakeClock) -> None:
    companion.add("s1")
    companion.say(stuck())
    client = CompanionClient(companion.url, key=companion.key, clock=clock)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            client.get_session("s1", wait="ready", timeout_s=300)
        except (RuntimeError, Unreachable) as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not companion.requests:
        threading.Event().wait(0.005)
    client.close()
    thread.join(20)
    assert not thread.is_alive() and isinstance(failed[0], RuntimeError)


def test_the_companion_signs_a_url(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    url = face.sign_url("s1", "/hls/a.m3u8", form="path")
    assert url == "https://pod.example/atlas-access/…/hls/a.m3u8"
    face.sign_url("s1", url="https://pod.example/a?b=c", expires_in_s=60)
    face.sign_url(
        "s1",
        "/a/",
        port=8888,
        expires_in_s=1,
        method="PUT",
        prefix=True,
        not_before=1_800_000_000,
        address="192.0.2.7",
        single_use=True,
    )
    assert companion.asked == [
        {"path": "/hls/a.m3u8", "expires_in_s": 600, "form": "path"},
        {"url": "https://pod.example/a?b=c", "expires_in_s": 60},
        {
            "path": "/a/",
            "port": "8888",
            "expires_in_s": 1,
            "method": "PUT",
            "prefix": True,
            "not_before": 1_800_000_000,
            "address": "192.0.2.7",
            "single_use": True,
        },
    ]
    assert companion.requests == ["POST /v1/sessions/s1/signed-urls"] * 3


@pytest.mark.parametrize("options", [{}, {"path": "/a", "url": "https://pod.example/a"}])
def test_a_url_is_signed_for_one_thing(face: Face, companion: FakeCompanion, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either path or url"):
        face.sign_url("s1", **options)
    assert companion.requests == []


def test_what_is_no_url_is_not_given_to_a_page(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    for body in (b'{"url": "javascript:alert(1)"}', b'{"url": 1}', b"{}", b"[]"):
        companion.say(answer(200, body))
        with pytest.raises(BadAnswer):
            face.sign_url("s1", "/a")
    with pytest.raises(NoSuchSession):
        face.sign_url("other", "/a")
