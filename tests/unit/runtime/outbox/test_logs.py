"""The log: one line for each event, stable names, and no secret however it got there."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_session.tokens import mint_token
from pulumi_atlas.runtime._redaction import HIDDEN, Redactor
from pulumi_atlas.runtime.logs import Logs, configure, logger

# The same each time: they are in the names of tests, which two workers must agree on.
TOKEN = mint_token(key=bytes(range(32))).token
WHSEC = "whsec_" + base64.b64encode(bytes(range(40, 72))).decode()
GRANT = f"u1.k1.1767225660.1767225600.0.GET.x.-.-.{base64.urlsafe_b64encode(bytes(range(80, 112))).decode()[:43]}"
PATH_GRANT = GRANT.replace("u1", "p1").replace(".x.", ".p5.")
KEY = 'planted "key" with\\signs/and+más'
PLANTED = (TOKEN, WHSEC, GRANT, PATH_GRANT, KEY, "opaque-bearer-value", "dXNlcjpwYXNzd29yZA==", "s3same-open")
Form = Literal["text", "json"]


class Stream(io.StringIO):
    """What was written, and that nothing else was."""

    def lines(self) -> list[str]:
        text = self.getvalue()
        assert text == "" or text.endswith("\n")
        return text.split("\n")[:-1]


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> Form:
    return request.param  # type: ignore[no-any-return]


@contextmanager
def log(form: Form) -> Iterator[Stream]:
    """Inside the test's body: pytest puts handlers of its own around it."""
    stream = Stream()
    logs = configure(form, secrets=[KEY], stream=stream)
    try:
        yield stream
    finally:
        logs.close()


def no_secret_in(text: str) -> None:
    for one in PLANTED:
        assert one not in text
        assert json.dumps(one)[1:-1] not in text
        assert quote(one, safe="") not in text and quote_plus(one) not in text


class Rude:
    def __repr__(self) -> str:
        return f"Rude({KEY!r}, {TOKEN})"


def _raise() -> None:
    try:
        raise KeyError(KEY)
    except KeyError as error:
        raise RuntimeError(f"asked with Bearer opaque-bearer-value and {TOKEN}") from error


@pytest.mark.parametrize(
    "words",
    [
        TOKEN,
        f"key={KEY}",
        f"key={json.dumps(KEY)}",
        f"key={json.dumps(KEY, ensure_ascii=False)}",
        f"key={KEY!r}",
        f"GET /?x={quote(KEY, safe='')}",
        f"x={quote_plus(KEY)}",
        "asked with Basic dXNlcjpwYXNzd29yZA==",
        f"a{TOKEN}",
        TOKEN[:40],
        f"GET /hls/atlas-access/{PATH_GRANT}/a.m3u8 HTTP/1.1",
        f"GET /x?atlas-access={GRANT}&page=2 200",
        f"GET /x?page=2&atlas%2Daccess%3D{GRANT}",
        f"atlas-access={GRANT[:60]}",
        f"grant {GRANT} made",
        f"Authorization: Bearer {TOKEN}",
        "Authorization: Bearer opaque-bearer-value",
        "authorization: opaque-bearer-value",
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "headers {'authorization': 'Bearer opaque-bearer-value', 'accept': '*/*'}",
        "headers [(b'authorization', b'opaque-bearer-value')]",
        'headers {\\"Authorization\\": \\"opaque-bearer-value\\"}',
        "proxy-authorization: Digest opaque-bearer-value",
        "Sec-WebSocket-Protocol: atlas-session, atlas-bearer.opaque-bearer-value",
        f"secret {WHSEC},{WHSEC}",
        "https://user:s3same-open@example.com/x",
        "https://example.com/x?token=s3same-open&page=2",
        "{'guard_key': 's3same-open', \"touch_token\": \"s3same-open\"}",
        "password='s3same-open'",
    ],
)
def test_no_secret_is_left_in_a_line(form: Form, words: str) -> None:
    with log(form) as written:
        logging.getLogger("a.library").warning("it says %s", words)
        logger("ours").warning("it says", what=words, deep={"list": [1, 2, words, {"more": words, words: 1}]})
        logger("ours").warning(words)
        lines = written.lines()
        assert len(lines) == 3
        for line in lines:
            no_secret_in(line)
            assert HIDDEN in line


def test_no_secret_is_left_of_fields_objects_and_tracebacks(form: Form) -> None:
    with log(form) as written:
        library = logging.getLogger("a.library")
        library.warning(
            "rude", extra={"thing": Rude(), "token": "s3same-open", KEY: 1, "headers": {"Authorization": "s3same-open"}}
        )
        library.warning("pairs", extra={"headers": [(b"Authorization", b"s3same-open"), (b"cookie", b"s3same-open")]})
        library.warning("%s and %r", Rude(), {"secret": "s3same-open"})
        try:
            _raise()
        except RuntimeError:
            library.exception("it broke")
            logger("ours").exception("it broke", env={"NAME": "s3same-open"})
        for line in written.lines():
            no_secret_in(line)
        assert len(written.lines()) == 5
        assert "RuntimeError" in written.lines()[-1] and "KeyError" in written.lines()[-2]


def test_more_secrets_can_be_named_later() -> None:
    stream = Stream()
    logs = configure("json", stream=stream)
    try:
        logging.warning("a-secret-of-later")
        logs.redactor.add(["a-secret-of-later", "short"])
        logging.warning("a-secret-of-later, short")
    finally:
        logs.close()
    assert [json.loads(line)["event"] for line in stream.lines()] == ["a-secret-of-later", f"{HIDDEN}, short"]


def test_uvicorns_lines_pass_through(form: Form) -> None:
    with log(form) as written:
        access = logging.getLogger("uvicorn.access")
        access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", f"/x?atlas-access={GRANT}", "1.1", 200)
        logging.getLogger("uvicorn.error").error("broken by %s", TOKEN)
        assert len(written.lines()) == 2
        no_secret_in(written.getvalue())


def test_libraries_that_tell_each_request_are_quiet(form: Form) -> None:
    with log(form) as written:
        logging.getLogger("httpx").info("HTTP Request: POST https://hooks.example/with/its/secret/path")
        assert written.lines() == []
        logging.getLogger("httpx").warning("odd")
        assert len(written.lines()) == 1


def test_json_has_stable_names_in_order() -> None:
    stream = Stream()
    logs = configure("json", stream=stream)
    try:
        logging.getLogger("lib").info("of %d", 3, extra={"session": "s1", "cost": float("nan"), "ok": True, 5: None})
        logger("ours").warning("opened", session="s1", count=2, who={"b"}, none=None)
        logging.getLogger("lib").debug("not wanted")
        try:
            _raise()
        except RuntimeError:
            logger("ours").exception("broke")
    finally:
        logs.close()
    first, second, third = (json.loads(line) for line in stream.lines())
    assert list(first)[:4] == list(second)[:4] == list(third)[:4] == ["time", "level", "logger", "event"]
    assert (first["level"], first["logger"], first["event"]) == ("info", "lib", "of 3")
    assert first["session"] == "s1" and first["ok"] is True and first["cost"] == "nan"
    assert second | {"time": ""} == {
        "time": "", "level": "warning", "logger": "ours", "event": "opened", "session": "s1", "count": 2, "who": ["b"],
        "none": None,
    }  # fmt: skip
    assert first["time"].endswith("Z") and first["time"][10] == "T" and len(first["time"]) == 24
    assert list(third)[-1] == "exception" and "Traceback" in third["exception"]


def test_text_is_one_line_that_steers_no_terminal() -> None:
    stream = Stream()
    logs = configure("text", stream=stream)
    try:
        logging.getLogger("lib").warning(
            "two\nlines \x1b[31m", extra={"a": "x y", "b": "", "c": "plain", "d\n": 'q"\n'}
        )
        try:
            _raise()
        except RuntimeError:
            logging.getLogger("lib").exception("broke")
    finally:
        logs.close()
    first, second = stream.lines()
    assert first.endswith(' warning  lib: two\\nlines \\x1b[31m a="x y" b="" c=plain d\\n="q\\"\\n"')
    assert "Traceback" in second and "RuntimeError" in second


def test_what_cannot_be_logged_is_not_shown_raw(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    with log(form) as written:

        class Broken:
            def __str__(self) -> str:
                raise ValueError(TOKEN)

            __repr__ = __str__

        logging.getLogger("lib").warning("%d of %s", TOKEN, KEY)
        logging.getLogger("lib").warning("%s", Broken())
        logging.getLogger("lib").warning("x", extra={"thing": Broken()})
        assert written.lines() == ["a line of lib could not be logged"] * 3
        assert capsys.readouterr() == ("", "")


def test_closing_gives_the_former_log_back() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("httpx").level)
    logs = configure("text", stream=Stream())
    assert root.handlers != before[1] and logging.getLogger("httpx").level == logging.WARNING
    logs.close()
    logs.close()
    assert (root.level, list(root.handlers), logging.getLogger("httpx").level) == before


def test_it_goes_to_standard_error_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    logs = configure()
    logging.getLogger("lib").warning("there")
    logs.close()
    assert stream.lines()[0].endswith("lib: there")


@pytest.mark.parametrize(
    "words",
    [
        "atlas_sessions_opened_total and atlas_provider_call_seconds_bucket",
        "import atlas_session.companion.heartbeat",
        "no token was given, secret_env names nothing",
        "session s1 is terminating: idle",
        "the basic idea, the bearer of a touch token",
        "https://example.com/a@b",
        "it costs 2.5 an hour; u1.k1 is no grant",
    ],
)
def test_ordinary_words_stay(words: str) -> None:
    assert Redactor(["", " ", "abc"])(words) == words


SECRETS = st.text(min_size=6, max_size=40).filter(lambda one: len(one.strip()) >= 6 and one.strip() not in HIDDEN)


@given(secret=SECRETS, before=st.text(max_size=20), after=st.text(max_size=20), form=st.sampled_from(["text", "json"]))
def test_no_line_ever_holds_a_secret_that_was_named(secret: str, before: str, after: str, form: Any) -> None:
    stream, named = Stream(), secret.strip()
    logs = configure(form, secrets=[secret], stream=stream)
    try:
        one = logging.getLogger("lib")
        one.warning(before + named + after, extra={"field": {"deep": [before, named + after]}, "said": repr(named)})
    finally:
        logs.close()
    (line,) = stream.lines()
    if form == "json":
        found = json.loads(line)
        assert HIDDEN in found["event"] and HIDDEN in found["said"]
        assert named not in found["event"] and named not in found["field"]["deep"][1]
    assert line.isprintable() and line.count(HIDDEN) >= 3


def test_the_handle_is_what_it_says() -> None:
    logs = configure("text", stream=Stream())
    assert isinstance(logs, Logs)
    logs.close()


def test_all_named_secrets_are_found_the_longest_first() -> None:
    redactor = Redactor(["planted-one", "planted-one-and-more"])
    redactor.add(["planted-two"])
    words = "planted-one-and-more planted-two planted-one"
    assert redactor(words) == f"{HIDDEN} {HIDDEN} {HIDDEN}"
