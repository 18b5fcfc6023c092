"""Each verb, from both faces, against a companion that checks every request."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from companion_kit import Face, FakeClock, FakeCompanion, answer, lost

import atlas_session
from atlas_session.companion import AsyncCompanionClient, CompanionClient, NoSuchSession, Refused, Session, SessionEnded

T, U, R = (f"atlas_{letter * 43}" for letter in "tur")


def test_a_session_is_opened_with_its_tokens(face: Face, companion: FakeCompanion) -> None:
    session = face.open_session(template="notebook", owner="user-7")
    assert (session.id, session.status, session.owner, session.template) == ("s1", "requested", "user-7", "notebook")
    assert (session.token, session.touch_token) == (T, U)
    assert session.urls == {"8888": "https://pod.example"}


def test_tokens_are_in_no_repr(face: Face, companion: FakeCompanion) -> None:
    session = face.open_session(template="notebook")
    for shown in (repr(session), str(session), repr(face.client)):
        assert T not in shown and U not in shown and companion.key not in shown
    assert pickle.loads(pickle.dumps(session)) == session


def test_two_opens_are_two_sessions_and_the_same_key_is_one(face: Face, companion: FakeCompanion) -> None:
    assert face.open_session(template="a").id != face.open_session(template="a").id
    first = face.open_session(spec={"gpus": ["H100"]}, idempotency_key="mine")
    again = face.open_session(spec={"gpus": ["H100"]}, idempotency_key="mine")
    assert first == again and companion.opened == 3
    with pytest.raises(Refused) as caught:
        face.open_session(spec={"gpus": ["L4"]}, idempotency_key="mine")
    assert caught.value.status == 409


def test_an_answer_that_is_lost_opens_no_second_session(face: Face, companion: FakeCompanion) -> None:
    companion.say(lost(), lost())
    session = face.open_session(template="notebook")
    assert companion.opened == 1 and session.id == "s1" and session.token == T
    assert len({headers["idempotency-key"] for headers in companion.headers}) == 1


def test_a_session_is_read_touched_and_extended(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1", deadline=1_800_000_100, warning_at=1_800_000_040.5, cost=0.25, now=1_800_000_000, reason=None)
    session = face.get_session("s1")
    assert session.seconds_left(1_800_000_090) == 10 and session.seconds_left(1_900_000_000) == 0
    assert session.seconds_to_warning(1_800_000_040) == 0.5
    assert (session.cost, session.reason, session.is_gone) == (0.25, None, False)
    face.touch("s1")
    face.touch("s1", source="job", idle_s=2.5, count=3)
    assert companion.touches == [
        {"source": "client", "idle_s": 0.0, "count": 1},
        {"source": "job", "idle_s": 2.5, "count": 3},
    ]
    assert face.extend("s1", 600).deadline == 1_800_000_700


def test_pause_resume_rotate_and_close(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    assert face.pause("s1").status == "pausing"
    assert face.resume("s1").status == "resuming"
    rotated = face.rotate("s1")
    assert (rotated.generation, rotated.token) == (1, R)
    closed = face.close_session("s1")
    assert closed.status == "terminating" and closed.is_gone
    assert companion.requests[-1] == "DELETE /v1/sessions/s1"


def test_a_list_is_read_over_all_its_pages(face: Face, companion: FakeCompanion) -> None:
    for number in range(5):
        companion.add(f"s{number}", "ready" if number % 2 else "paused", owner="a b&c=d/é" if number < 3 else "other")
    assert [session.id for session in face.list_sessions()] == ["s0", "s1", "s2", "s3", "s4"]
    assert [session.id for session in face.list_sessions(owner="a b&c=d/é")] == ["s0", "s1", "s2"]
    assert [session.id for session in face.list_sessions(owner="a b&c=d/é", status="ready")] == ["s1"]
    assert face.list_sessions(owner="nobody") == []


def test_what_is_not_there_and_what_has_ended(face: Face, companion: FakeCompanion) -> None:
    companion.add("over", over=True)
    for verb in ("get_session", "touch", "pause", "resume", "rotate", "close_session"):
        with pytest.raises(NoSuchSession) as unknown:
            getattr(face, verb)("other")
        with pytest.raises(SessionEnded) as ended:
            getattr(face, verb)("over")
        assert (unknown.value.status, ended.value.status) == (404, 410)
        assert unknown.value.problem["title"] == "no such session"


def test_a_path_before_v1_is_kept(clock: FakeClock) -> None:
    with FakeCompanion(prefix="/atlas") as companion, CompanionClient(companion.url + "/", key=companion.key) as client:
        companion.add("s1")
        assert client.get_session("s1").id == "s1"
        assert companion.requests == ["GET /atlas/v1/sessions/s1"] and companion.violations == []


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a?b", "a#b", "a b", "a\r\nb", "é", "x" * 65, "%2e", None])
def test_an_id_that_would_change_the_path_is_never_sent(face: Face, companion: FakeCompanion, id: Any) -> None:
    for verb in ("get_session", "touch", "pause", "close_session"):
        with pytest.raises(ValueError):
            getattr(face, verb)(id)
    with pytest.raises(ValueError):
        face.events(id)
    assert companion.requests == []


@pytest.mark.parametrize(
    ("verb", "arguments", "options"),
    [
        ("touch", ("s1",), {"idle_s": -1}),
        ("touch", ("s1",), {"idle_s": float("nan")}),
        ("touch", ("s1",), {"idle_s": float("inf")}),
        ("touch", ("s1",), {"count": 0}),
        ("touch", ("s1",), {"count": True}),
        ("touch", ("s1",), {"source": "A B"}),
        ("extend", ("s1", 0), {}),
        ("extend", ("s1", 1.5), {}),
        ("open_session", (), {}),
        ("open_session", (), {"template": "a", "spec": {}}),
        ("open_session", (), {"spec": {"a": object()}}),
        ("open_session", (), {"spec": {"a": float("nan")}}),
        ("open_session", (), {"template": "a", "idempotency_key": "two words"}),
        ("open_session", (), {"template": "a", "idempotency_key": ""}),
        ("open_session", (), {"spec": {"a": "x" * (1 << 20)}}),
    ],
)
def test_what_cannot_be_sent_is_not(
    face: Face, companion: FakeCompanion, verb: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        getattr(face, verb)(*arguments, **options)
    assert companion.requests == []


def test_one_connection_serves_many_requests(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    for _ in range(10):
        face.touch("s1")
    assert companion.connections == 1


def test_a_request_that_must_not_be_repeated_goes_out_on_a_new_connection(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    face.get_session("s1")
    face.extend("s1", 10)
    assert companion.connections == 2


def test_a_connection_that_was_closed_while_it_was_kept_is_no_failure(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    for _ in range(3):
        face.get_session("s1")
        companion.hang_up()
    assert companion.requests == ["GET /v1/sessions/s1"] * 3


def test_threads_share_a_client(client: CompanionClient, companion: FakeCompanion) -> None:
    for number in range(8):
        companion.add(f"s{number}")
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        found[number] = [client.get_session(f"s{number}").id for _ in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"s{number}"] * 10 for number in range(8)}
    assert companion.connections <= 8


def test_many_coroutines_share_a_client(companion: FakeCompanion) -> None:
    for number in range(20):
        companion.add(f"s{number}")

    async def main() -> list[Session]:
        async with AsyncCompanionClient(companion.url, key=companion.key, threads=3) as client:
            return list(await asyncio.gather(*[client.get_session(f"s{number}") for number in range(20)]))

    assert [session.id for session in asyncio.run(main())] == [f"s{number}" for number in range(20)]
    assert companion.connections <= 3


def test_a_closed_client_says_so(face: Face, companion: FakeCompanion) -> None:
    companion.add("s1")
    face.get_session("s1")
    face.aclose() if face.kind == "async" else face.close()
    with pytest.raises(RuntimeError, match="closed"):
        face.get_session("s1")


def test_the_client_is_at_the_front_door() -> None:
    for name in (
        "CompanionClient",
        "AsyncCompanionClient",
        "CompanionError",
        "Session",
        "Event",
        "Heartbeat",
        "AsyncHeartbeat",
    ):
        assert getattr(atlas_session, name).__module__.startswith("atlas_session.companion")
        assert name in atlas_session.__all__


def test_another_session_in_the_answer_is_not_taken(face: Face, companion: FakeCompanion) -> None:
    companion.say(answer(200, b'{"id": "s2", "status": "ready"}'))
    with pytest.raises(atlas_session.CompanionError, match="another"):
        face.get_session("s1")
