"""Guards as they are often written, each with the hole that it has, beside ours that has not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from atlas_session import verify_token, verify_url
from atlas_session.errors import AccessDenied
from atlas_session.guard._decide import Admitted
from atlas_session.guard._facts import Facts
from atlas_session.guard._forwarded import forwarded_address
from atlas_session.guard._verifier import parse_answer
from tests.unit.session.guard._kit import (
    HOST,
    KEY,
    NOW,
    OTHER_TOKEN,
    TOKEN,
    Echo,
    ask,
    bearer,
    facts,
    guarded,
    judged,
    settings,
    signed,
)

URL = f"http://{HOST}/data"


def lets_in(request: Facts, **changes: Any) -> bool:
    return isinstance(judged(request, settings(**changes)), Admitted)


def is_granted(url: str, method: str) -> bool:
    try:
        verify_url(url, keys={"k1": KEY}, method=method, generation=0, now=NOW)
    except AccessDenied:
        return False
    return True


# ---- decisions


def naive_prefix(request: Facts) -> bool:
    """Public paths by their beginning, on the path as it is written."""
    return request.path.startswith("/static/")


def naive_decoded(request: Facts) -> bool:
    """Public paths on the decoded path, which the application decodes and resolves once more."""
    return unquote(request.path).startswith("/static/")


@pytest.mark.parametrize(
    ("naive", "path"),
    [
        (naive_prefix, "/static/../data"),
        (naive_prefix, "/static/%2e%2e/data"),
        (naive_prefix, "/static/..;/data"),
        (naive_decoded, "/static%2f..%2fdata"),
    ],
)
def test_public_paths(naive: Callable[[Facts], bool], path: str) -> None:
    request = facts(f"http://{HOST}{path}")
    assert naive(request)
    assert not lets_in(request, public_paths=("/static/",))


def naive_last_header(request: Facts) -> bool:
    """Headers in a dict: of two, the last counts, whatever a proxy before it looked at."""
    headers = {name: values[-1] for name, values in request.headers.items()}
    return verify_token(headers.get("authorization", "")[7:], TOKEN.hash)


def test_two_headers() -> None:
    request = facts(URL, {"authorization": [f"Bearer {OTHER_TOKEN.token}", f"Bearer {TOKEN.token}"]})
    assert naive_last_header(request)
    assert not lets_in(request)


def naive_either(request: Facts) -> bool:
    """A header or, if that does not do, a query."""
    header = request.only("authorization") or ""
    return verify_token(header[7:], TOKEN.hash) or is_granted(f"http://{HOST}{request.path}?{request.query}", "GET")


def test_header_and_query() -> None:
    request = facts(signed(URL), bearer(OTHER_TOKEN.token))
    assert naive_either(request)
    assert not lets_in(request)


def naive_first_parameter(request: Facts) -> bool:
    """Takes the first of two parameters, and hands the second to the application."""
    grant = parse_qs(request.query)["atlas-access"][0]
    return is_granted(f"http://{HOST}{request.path}?atlas-access={grant}", "GET")


def test_two_parameters() -> None:
    request = facts(f"{signed(URL)}&atlas-access=another")
    assert naive_first_parameter(request)
    assert not lets_in(request)


def naive_any_method(request: Facts) -> bool:
    return is_granted(f"http://{HOST}{request.path}?{request.query}", "GET")


def test_the_requests_own_method() -> None:
    request = facts(signed(URL), method="DELETE")
    assert naive_any_method(request)
    assert not lets_in(request)


def naive_forwarded_scheme(request: Facts) -> bool:
    """Believes whoever sends the header."""
    scheme, host = request.only("x-forwarded-proto"), request.only("x-forwarded-host")
    return is_granted(f"{scheme}://{host}{request.path}?{request.query}", "GET")


def test_a_visitor_that_says_where_it_is() -> None:
    """A grant for another pod with the same key, brought to this one."""
    url = signed("https://another.example/data")
    request = facts(
        url, {"host": HOST, "x-forwarded-proto": "https", "x-forwarded-host": "another.example"}, scheme="http"
    )
    assert naive_forwarded_scheme(request)
    assert not lets_in(request)


def naive_leftmost(line: str) -> str:
    return line.split(",")[0].strip()


def test_the_leftmost_address_is_the_visitors_own_word() -> None:
    line = "192.0.2.7, 203.0.113.66"  # the first was sent by the visitor, the second is what the proxy saw
    assert naive_leftmost(line) == "192.0.2.7"
    assert forwarded_address([line], ()) == "203.0.113.66"


def naive_websocket(request: Facts) -> bool:
    """A credential is enough, whatever page opened it."""
    return verify_token((request.only("authorization") or "")[7:], TOKEN.hash)


def test_a_websocket_from_any_page() -> None:
    request = facts(f"ws://{HOST}/live", {**bearer(), "origin": "https://evil.example"})
    assert naive_websocket(request)
    assert not lets_in(request)


def naive_suffix(origin: str) -> bool:
    return origin.endswith("app.example")


def test_an_origin_that_ends_alike() -> None:
    origin = "https://evil-app.example"
    assert naive_suffix(origin)
    got = ask(
        guarded(chosen=settings(origins=frozenset({"https://app.example"}))), facts(URL, {**bearer(), "origin": origin})
    )
    assert got.header("access-control-allow-origin") is None


# ---- logs


async def naive_copy(scope: Any, receive: Any, send: Any) -> None:
    """Gives the application a clean copy; the server logs from the one that it kept."""
    clean = {**scope, "query_string": b"", "headers": []}
    await Echo()(clean, receive, send)


def test_a_copy_of_the_scope_leaves_the_grant_in_the_servers_log() -> None:
    url = signed(URL)
    secret = url.rpartition(".")[2].encode()
    assert secret in ask(naive_copy, facts(url)).scope["query_string"]
    assert secret not in ask(guarded(), facts(url)).scope["query_string"]


def naive_challenge(reason: str) -> bytes:
    return f"access denied: {reason}".encode()


def test_an_answer_that_explains_itself_is_an_oracle() -> None:
    assert naive_challenge("expired") != naive_challenge("bad signature")
    late = ask(guarded(), facts(signed(URL, now=NOW - 9999)))
    forged = ask(guarded(), facts(signed(URL)[:-1]))
    assert (late.status, late.headers, late.body) == (forged.status, forged.headers, forged.body)


# ---- the companion's answer


def naive_verifier(body: bytes) -> tuple[set[str], bool]:
    """Takes what is there."""
    given = json.loads(body)
    return set(given.get("token_hashes", [])), bool(given.get("revoked"))


def test_an_error_page_in_json_is_no_verifier() -> None:
    body = b'{"error": "upstream unavailable"}'
    assert naive_verifier(body) == (set(), False)  # and everybody is locked out
    with pytest.raises(ValueError, match="no generation"):
        parse_answer(body)
    body = b'{"generation": 1, "token_hashes": [], "url_keys": {}, "revoked": "false"}'
    assert naive_verifier(body)[1]
    with pytest.raises(ValueError, match="revoked"):
        parse_answer(body)
