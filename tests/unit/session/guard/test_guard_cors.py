"""Pages of other origins: only configured ones, and a preflight reaches nobody."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.session.guard._kit import HOST, TOKEN, Echo, ask, bearer, facts, guarded, settings, signed

APP = "https://app.example"
URL = f"http://{HOST}/data"
#: What an application may say on its own.
LOOSE = [
    (b"access-control-allow-origin", b"*"),
    (b"Access-Control-Allow-Credentials", b"true"),
    (b"vary", b"Accept"),
]


def configured(*origins: str) -> Any:
    return settings(origins=frozenset(origins))


def preflight(origin: str | None, url: str = URL, **headers: Any) -> Any:
    given = {"origin": origin, "access-control-request-method": "PUT", **headers}
    return facts(url, {name.replace("_", "-"): value for name, value in given.items()}, method="OPTIONS")


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), APP, False),
        ((APP,), APP, True),
        ((APP,), "https://app.example:443", False),
        ((APP,), "http://app.example", False),
        ((APP,), "https://APP.example", False),
        ((APP,), "https://app.example.evil.example", False),
        ((APP,), "null", False),
        ((APP,), [APP, APP], False),
        (("*",), "https://anybody.example", True),
        (("*",), "null", False),
        (("*", "null"), "null", True),
        (("null",), "null", True),
        ((APP,), "", False),
    ],
)
def test_a_preflight_is_answered_by_the_guard(origins: Any, origin: Any, allowed: bool) -> None:
    app = Echo()
    guard = guarded(app, configured(*origins))
    got = ask(guard, preflight(origin))
    assert got.status == (204 if allowed else 403)
    assert got.header("access-control-allow-origin") == (origin if allowed else None)
    assert got.header("access-control-allow-methods") == ("PUT" if allowed else None)
    assert got.header("access-control-max-age") == ("600" if allowed else None)
    assert got.header("access-control-allow-credentials") is None
    assert got.header("vary") == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert app.scopes == [] and not guard.gate.activity.is_waiting


def test_a_preflight_needs_no_credential_and_shows_none() -> None:
    got = ask(guarded(chosen=configured(APP)), preflight(APP, f"{URL}?atlas-access=secret"))
    assert got.status == 204 and got.scope["query_string"] == b""


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Authorization", "Authorization"),
        ("authorization, X-Thing ,x-other", "authorization, X-Thing, x-other"),
        (["a", "b"], "a, b"),
        ("a\r\nset-cookie: x, b", "b"),
        ("", None),
        ("a b, ü, {}", None),
        (", ".join(["a"] * 500), ", ".join(["a"] * 64)),
        ("x" * 65, None),
    ],
)
def test_headers_that_are_asked_for_are_repeated_if_they_are_headers(asked: Any, answered: str | None) -> None:
    got = ask(guarded(chosen=configured(APP)), preflight(APP, access_control_request_headers=asked))
    assert got.header("access-control-allow-headers") == answered


@pytest.mark.parametrize("method", ["", "A B", "X" * 65, ["PUT", "GET"], "PUT\n"])
def test_a_method_that_is_none_is_not_repeated(method: Any) -> None:
    got = ask(guarded(chosen=configured(APP)), preflight(APP, access_control_request_method=method))
    assert got.header("access-control-allow-methods") is None
    assert got.header("access-control-allow-origin") is None


@pytest.mark.parametrize("missing", ["origin", "access-control-request-method"])
def test_another_options_request_is_a_request(missing: str) -> None:
    headers = {"origin": APP, "access-control-request-method": "PUT", missing: None}
    app = Echo()
    guard = guarded(app, configured(APP))
    assert ask(guard, facts(URL, headers, method="OPTIONS")).status == 401
    assert ask(guard, facts(URL, {**headers, **bearer()}, method="OPTIONS")).status == 200


@pytest.mark.parametrize(
    ("origins", "origin", "says"),
    [
        ((APP,), APP, APP),
        ((APP,), "https://evil.example", None),
        ((APP,), None, None),
        (("*",), "https://anybody.example", "*"),
        (("*",), None, "*"),
        (("*",), "null", None),
    ],
)
@pytest.mark.parametrize("credential", [bearer(), {}, bearer("wrong")])
def test_the_guard_owns_what_answers_say(
    origins: Any, origin: Any, says: str | None, credential: dict[str, str]
) -> None:
    guard = guarded(Echo(LOOSE), configured(*origins))
    got = ask(guard, facts(URL, {**credential, "origin": origin}))
    assert got.header("access-control-allow-origin") == says
    assert got.header("access-control-allow-credentials") is None
    assert got.header("access-control-expose-headers") == (
        "Content-Range, Accept-Ranges, Retry-After" if says else None
    )
    assert got.header("vary") == ("Accept, Origin" if credential == bearer() else "Origin")


def test_without_origins_the_applications_own_rules_stand() -> None:
    got = ask(guarded(Echo(LOOSE)), facts(URL, {**bearer(), "origin": APP}))
    assert got.header("access-control-allow-origin") == "*"
    refused = ask(guarded(Echo(LOOSE)), facts(URL, {"origin": APP}))
    assert refused.header("access-control-allow-origin") is None and refused.header("vary") is None


def test_a_page_can_read_a_signed_url_and_health() -> None:
    guard = guarded(chosen=configured(APP))
    for url in (signed(URL), f"http://{HOST}/atlas-access/health"):
        assert ask(guard, facts(url, {"origin": APP})).header("access-control-allow-origin") == APP


def test_the_token_is_no_part_of_an_answer() -> None:
    got = ask(guarded(chosen=configured("*")), preflight(TOKEN.token, access_control_request_headers="a"))
    assert got.status == 204  # an origin is a text that browsers write; it comes back to whoever wrote it
