"""A WSGI application that fails: servers log that with the whole URL, so they do not hear of it where a grant is in it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.session.guard._kit import HOST, KEY, Lines, bearer, facts, get, linked, settings, signed, signed_path
from tests.unit.session.guard.test_guard_under_load import running
from tests.unit.session.guard.test_guard_wsgi import Got, Idle, Pieces, environ_of, guarded, streaming

URL = f"http://{HOST}/data/file.bin"
LOG = "atlas_session.guard"
SAID = "the application failed"
WITH_A_GRANT = [facts(signed(URL)), facts(signed_path(URL)), facts(signed(f"http://{HOST}/static/a"))]
PUBLIC = settings(public_paths=("/static/",))


class Oh(Exception):
    """The application's own."""


def at_once(environ: Any, start_response: Any) -> Any:
    raise Oh


def after_start(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Length", "1000")])
    raise Oh


def before_its_first_piece(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "1000")])
    raise Oh
    yield b""


def without_start(environ: Any, start_response: Any) -> Any:
    return [b"x"]


@pytest.mark.parametrize("app", [at_once, after_start, before_its_first_piece, without_start])
@pytest.mark.parametrize("request_", WITH_A_GRANT)
def test_a_failure_before_the_answer_is_answered_and_logged_without_the_url(
    app: Any, request_: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOG):
        got = Got(guarded(app, PUBLIC), request_)
    ((status, headers),) = got.started  # nothing of the application's
    assert (status, got.body) == ("500 Internal Server Error", b"internal server error\n")
    assert dict(headers)["Content-Length"] == str(len(got.body)) and got.header("cache-control") == "no-store"
    (record,) = caplog.records
    assert record.getMessage() == SAID and record.exc_info is not None
    assert record.exc_info[0] is (RuntimeError if app is without_start else Oh)
    assert not [secret for secret in ("u1.k1", "p1.k1", "atlas-access=") if secret in caplog.text]


def test_a_failure_of_head_has_no_body() -> None:
    with Lines(LOG):
        assert Got(guarded(at_once), facts(signed(URL), method="HEAD")).body == b""


@pytest.mark.parametrize("chosen", [settings(), linked("https://companion.example")])
def test_a_failure_in_the_middle_cuts_the_connection(chosen: Any) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        raise Oh

    started: list[Any] = []
    guard = guarded(app, chosen, reporter=lambda gate: Idle())
    stream = iter(guard(environ_of(facts(signed(URL))), lambda *given: started.append(given)))
    assert next(stream) == b"a"
    with Lines(LOG) as lines, pytest.raises(ConnectionResetError) as caught:
        next(stream)
    assert caught.value.errno == errno.ECONNRESET  # gunicorn is quiet about this one
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert lines.texts == [SAID] and len(started) == 1


def test_a_failure_after_write_cuts_the_connection() -> None:
    written: list[bytes] = []
    seen: list[Any] = []

    def start(*given: Any) -> Any:
        seen.append(given)
        return written.append

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        raise Oh

    with Lines(LOG), pytest.raises(ConnectionResetError):
        guarded(app)(environ_of(facts(signed(URL))), start)
    assert written == [b"a", b"b"] and len(seen) == 1


def test_headers_that_the_server_does_not_take_cut_the_connection() -> None:
    def start(*given: Any) -> Any:
        raise ValueError(given)

    with Lines(LOG) as lines, pytest.raises(ConnectionResetError):
        guarded()(environ_of(facts(signed(URL))), start)
    assert lines.texts == [SAID]


def test_an_answer_that_is_begun_twice_is_a_failure() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response("201 Created", [])
        return [b""]

    with Lines(LOG):
        assert Got(guarded(app), facts(signed(URL))).status == 500


def test_a_failure_at_the_end_is_logged() -> None:
    class Ending(Pieces):
        def close(self) -> None:
            raise Oh

    with Lines(LOG) as lines:
        assert Got(guarded(streaming(Ending([b"a", b"b"]))), facts(signed(URL))).body == b"ab"
    assert lines.texts == [SAID]


def test_without_a_grant_a_failure_is_the_servers() -> None:
    for request in (facts(URL, bearer()), facts(f"http://{HOST}/static/a?x=1")):
        with pytest.raises(Oh):
            Got(guarded(at_once, PUBLIC), request)


def test_what_ends_the_process_is_not_held_up() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise SystemExit

    with pytest.raises(SystemExit):
        Got(guarded(app), facts(signed(URL)))


def test_an_answer_without_a_body_is_begun() -> None:
    got = Got(guarded(streaming(Pieces([]))), facts(signed(URL)))
    assert (got.status, got.body, got.header("referrer-policy")) == (200, b"", "no-referrer")


def test_a_file_for_the_server_to_send_stays_one() -> None:
    class Wrapper(Pieces):
        pass

    file = Wrapper([b"abc"])
    for request in (facts(signed(URL)), facts(URL, bearer())):
        started: list[Any] = []
        environ = environ_of(request, **{"wsgi.file_wrapper": Wrapper})
        assert guarded(streaming(file))(environ, lambda *given: started.append(given)) is file  # noqa: B023
        assert started[0][0] == "200 OK"


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_logs_no_grant_when_the_application_fails(worker: str, root: Path, tmp_path: Path) -> None:
    from atlas_session import sign_path, sign_url

    with running("gunicorn", root, tmp_path, options=["--worker-class", worker]) as server:
        base = f"http://127.0.0.1:{server.port}"
        for path, status, body in (("/fails", 500, b"internal server error\n"), ("/fails/late", 200, b"")):
            for url in (
                sign_url(f"{base}{path}", key=KEY, kid="k1", expires_in_s=60),
                sign_path(f"{base}{path}", key=KEY, kid="k1", expires_in_s=60),
            ):
                got = get(server.port, url.removeprefix(base))
                assert got[0] == status and (got[2] == body or status == 200)
                assert not got[2].endswith(b"0\r\n\r\n")  # no end that was none
        assert get(server.port, "/last", bearer())[0] == 200
        text = server.log.read_text()
    assert text.count(SAID) == 4 and '"GET /fails/late HTTP/1.1" 200' in text
    assert not [secret for secret in ("u1.k1", "p1.k1", "atlas-access") if secret in text], text
