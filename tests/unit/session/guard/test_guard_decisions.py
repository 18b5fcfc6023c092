"""Who comes in, request by request."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest

from atlas_session.guard._decide import Admitted, Answered, Refused, still_holds
from atlas_session.guard._nonces import NonceMemory
from atlas_session.guard._verifier import Verifier
from tests.unit.session.guard._kit import (
    HOST,
    KEY,
    NOW,
    OTHER_KEY,
    OTHER_TOKEN,
    TOKEN,
    bearer,
    facts,
    judged,
    settings,
    signed,
    signed_path,
)

URL = f"http://{HOST}/data/file.bin"
CHALLENGE = 'Bearer realm="atlas"'
PROTOCOL = "sec-websocket-protocol"


def refused(verdict: Any, status: int, reason: str, challenge: str | None = None) -> None:
    assert isinstance(verdict, Refused), verdict
    assert (verdict.status, verdict.challenge) == (status, challenge)
    assert verdict.reason.partition(":")[0] == reason


def admitted(verdict: Any) -> Admitted:
    assert isinstance(verdict, Admitted), verdict
    return verdict


def invalid_request(verdict: Any) -> None:
    refused(verdict, 400, "invalid_request", f'{CHALLENGE}, error="invalid_request"')


def invalid_token(verdict: Any) -> None:
    refused(verdict, 401, "invalid_token", f'{CHALLENGE}, error="invalid_token"')


# ---- bearer tokens


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   ", "Bearer\t"])
def test_a_token_comes_in(scheme: str) -> None:
    got = admitted(judged(facts(f"{URL}?a=1", {"authorization": scheme + TOKEN.token})))
    assert got == Admitted("bearer", None, "a=1", "198.51.100.9", token_hash=TOKEN.hash)


def test_without_a_credential_the_challenge_names_no_error() -> None:
    refused(judged(facts(URL)), 401, "no_credential", CHALLENGE)
    refused(judged(facts(URL), settings(realm="my pod")), 401, "no_credential", 'Bearer realm="my pod"')


@pytest.mark.parametrize(
    "token",
    ["", " ", "x", OTHER_TOKEN.token, TOKEN.hash, TOKEN.token[:-1], f"{TOKEN.token}x", TOKEN.token.upper(), "é" * 49],
)
def test_a_wrong_token_does_not(token: str) -> None:
    invalid_token(judged(facts(URL, bearer(token))))


@pytest.mark.parametrize("value", ["Basic dTpw", "Digest x", "Bearerx", f"Token {TOKEN.hash}", "", "Bear er"])
def test_another_scheme_is_no_credential_of_ours(value: str) -> None:
    refused(judged(facts(URL, {"authorization": value})), 401, "no_credential", CHALLENGE)
    assert admitted(judged(facts(signed(URL), {"authorization": value}))).how == "signed_url"


@pytest.mark.parametrize(
    "values",
    [
        [f"Bearer {TOKEN.token}", f"Bearer {TOKEN.token}"],
        [f"Bearer {TOKEN.token}", "Basic dTpw"],
        ["Basic dTpw", f"Bearer {TOKEN.token}"],
        ["Basic dTpw", "Basic dTpw"],
        [f"Bearer {TOKEN.token},Bearer {OTHER_TOKEN.token}"],
        [f"Basic dTpw,Bearer {TOKEN.token}"],
        [f"Basic {TOKEN.token}"],
        [TOKEN.token],
    ],
)
def test_two_authorization_headers_or_one_that_could_be_two(values: list[str]) -> None:
    invalid_request(judged(facts(URL, {"authorization": values})))
    assert isinstance(judged(facts(signed(URL), {"authorization": values})), Refused)


def test_every_hash_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    import hmac

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b))  # type: ignore[func-returns-value]
    hashes = frozenset({TOKEN.hash, OTHER_TOKEN.hash, "0" * 64, "f" * 64})
    admitted(judged(facts(URL, bearer()), settings(token_hashes=hashes)))
    assert set(compared) == hashes


# ---- more than one credential


GRANTED = signed(URL)
GRANT = GRANTED.partition("atlas-access=")[2]
IN_PATH = signed_path(URL)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (GRANTED, bearer()),
        (GRANTED, bearer("wrong")),
        (f"{URL}?atlas-access=x", bearer()),
        (f"{URL}?atlas-access", bearer()),
        (f"{GRANTED}&atlas-access={GRANT}", {}),
        (f"{GRANTED}&Atlas-Access={GRANT}", {}),
        (f"{URL}?%61tlas-access={GRANT}", {}),
        (f"{URL}?ATLAS-ACCESS={GRANT}", bearer()),
        (f"{URL}?x=1&atlas%2daccess=1", bearer()),
        (IN_PATH, bearer()),
        (f"{IN_PATH}?atlas-access={GRANT}", {}),
        (f"http://{HOST}/atlas-access/nonsense", bearer()),
    ],
)
def test_two_credentials_are_an_error_even_if_each_is_valid(url: str, headers: dict[str, str]) -> None:
    invalid_request(judged(facts(url, headers)))


# ---- WebSockets


WS = f"ws://{HOST}/live"


def offer(*names: str) -> dict[str, str]:
    return {PROTOCOL: ", ".join(names)}


def test_a_browser_offers_its_token_as_a_subprotocol() -> None:
    got = admitted(judged(facts(WS, offer("atlas-session", f"atlas-bearer.{TOKEN.token}"))))
    assert (got.how, got.token_hash) == ("bearer", TOKEN.hash)


def test_a_subprotocol_is_a_credential_on_websockets_only() -> None:
    refused(judged(facts(URL, offer(f"atlas-bearer.{TOKEN.token}"))), 401, "no_credential", CHALLENGE)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (WS, {**offer(f"atlas-bearer.{TOKEN.token}"), **bearer()}),
        (WS, offer(f"atlas-bearer.{TOKEN.token}", f"atlas-bearer.{TOKEN.token}")),
        (WS, offer(f"atlas-bearer.{TOKEN.token}", f"Atlas-Bearer.{OTHER_TOKEN.token}")),
        (WS, {PROTOCOL: [f"atlas-bearer.{TOKEN.token}", f"atlas-bearer.{OTHER_TOKEN.token}"]}),
        (signed(WS), offer(f"atlas-bearer.{TOKEN.token}")),
    ],
)
def test_two_credentials_on_a_websocket(url: str, headers: dict[str, Any]) -> None:
    invalid_request(judged(facts(url, headers)))


def test_a_wrong_token_in_a_subprotocol() -> None:
    invalid_token(judged(facts(WS, offer(f"atlas-bearer.{OTHER_TOKEN.token}"))))
    invalid_token(judged(facts(WS, offer("atlas-bearer."))))


def test_a_signed_url_of_a_websocket_is_bound_to_its_scheme() -> None:
    assert admitted(judged(facts(signed(WS)))).how == "signed_url"
    refused(judged(facts(signed(WS), scheme="wss", headers={"host": [HOST]})), 403, "bad_signature")
    refused(judged(facts(signed(WS.replace("ws:", "http:")).replace("http:", "ws:"))), 403, "bad_signature")


ORIGINS = frozenset({"https://app.example", "null"})


@pytest.mark.parametrize(
    ("origin", "lets_in"),
    [
        (f"http://{HOST}", True),
        (f"https://{HOST}", True),  # a proxy that ends TLS, and is not trusted, stands before many a pod
        (f"https://{HOST.upper()}", True),
        ("https://app.example", True),
        ("null", True),
        (f"http://{HOST}:8080", False),
        (f"https://{HOST}:80", False),
        ("http://app.example", False),
        ("https://app.example:444", False),
        (f"http://{HOST}.evil.example", False),
        (f"http://evil.example/{HOST}", False),
        (f"http://{HOST}@evil.example", False),
        ("file://", False),
        ("", False),
        (["https://app.example", "https://app.example"], False),
    ],
)
def test_the_page_that_opens_a_websocket(origin: Any, lets_in: bool) -> None:
    headers = {**bearer(), "origin": origin}
    verdict = judged(facts(WS, headers), settings(origins=ORIGINS))
    if lets_in:
        admitted(verdict)
    else:
        refused(verdict, 403, "wrong_origin")


def test_pages_of_another_origin_by_default() -> None:
    refused(judged(facts(WS, {**bearer(), "origin": "null"})), 403, "wrong_origin")
    refused(judged(facts(WS, {**bearer(), "origin": "https://app.example"})), 403, "wrong_origin")
    admitted(judged(facts(WS, {**bearer(), "origin": f"http://{HOST}"})))
    admitted(judged(facts(f"ws://{HOST}:81/x", {**bearer(), "origin": f"https://{HOST}:81"})))


def test_all_pages_but_null() -> None:
    every = settings(origins=frozenset({"*"}))
    admitted(judged(facts(WS, {**bearer(), "origin": "https://anybody.example"}), every))
    refused(judged(facts(WS, {**bearer(), "origin": "null"}), every), 403, "wrong_origin")


def test_with_a_public_url_the_page_must_be_its_own() -> None:
    chosen = settings(public_url="https://x.example")
    admitted(judged(facts(WS, {**bearer(), "origin": "https://x.example"}), chosen))
    for origin in ("http://x.example", "http://x.example:443", f"http://{HOST}", "https://x.example:444"):
        refused(judged(facts(WS, {**bearer(), "origin": origin}), chosen), 403, "wrong_origin")


def test_a_wrong_origin_does_not_use_up_a_grant() -> None:
    spent: list[str] = []
    request = facts(signed(WS, single_use=True), {"origin": "https://evil.example"})
    refused(judged(request, spend=lambda nonce, until: spent.append(nonce) is None), 403, "wrong_origin")
    assert spent == []


# ---- signed URLs


def test_a_signed_url_comes_in_in_its_canonical_spelling() -> None:
    got = admitted(judged(facts(signed(f"http://{HOST}/a%2Db?z=1&y=%7e").replace("/a-b", "/%61%2Db"))))
    assert (got.how, got.path, got.query) == ("signed_url", "/a-b", "y=~&z=1")
    assert got.grant is not None and (got.grant.path, got.grant.kid) == ("/a-b", "k1")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (facts(signed(URL, key=OTHER_KEY)), "bad_signature"),
        (facts(signed(URL, kid="k2")), "unknown_key"),
        (facts(signed(URL, generation=1)), "revoked"),
        (facts(signed(URL, now=NOW - 3600)), "expired"),
        (facts(signed(URL, now=NOW + 3600)), "not_yet_valid"),
        (facts(signed(URL), method="POST"), "wrong_method"),
        (facts(signed(URL, method="PUT")), "wrong_method"),
        (facts(signed(URL) + "&x=1"), "bad_signature"),
        (facts(signed(URL).replace("file", "fil")), "bad_signature"),
        (facts(signed(URL), {"host": "evil.example"}), "bad_signature"),
        (facts(signed(URL), {"host": f"{HOST}:81"}), "bad_signature"),
        (facts(signed(URL), scheme="https"), "bad_signature"),
        (facts(signed(URL, single_use=True)), "already_used"),
        (facts(signed(URL, address="192.0.2.1")), "bad_signature"),
        (facts(signed(URL, address="198.51.100.9"), peer=None), "bad_signature"),
        (facts(f"{URL}?atlas-access="), "malformed"),
        (facts(f"{URL}?atlas-access={GRANT}.x"), "malformed"),
        (facts(f"http://{HOST}/data//file.bin?atlas-access={GRANT}"), "malformed"),
        (facts(f"http://{HOST}/data/../data/file.bin?atlas-access={GRANT}"), "malformed"),
        (facts(f"http://{HOST}/data/%2e%2e/data/file.bin?atlas-access={GRANT}"), "malformed"),
        (facts(f"http://{HOST}/data%2Ffile.bin?atlas-access={GRANT}"), "malformed"),
        (facts(f"http://{HOST}/{'a' * 9000}?atlas-access={GRANT}"), "malformed"),
        (facts(f"http://{HOST}/caf\xe9?atlas-access={GRANT}"), "malformed"),
        (facts(URL, path="", query=f"atlas-access={GRANT}"), "bad_signature"),
        (facts(URL, path="data/file.bin", query=f"atlas-access={GRANT}"), "malformed"),
        (facts(URL, path="*", query=f"atlas-access={GRANT}"), "malformed"),
    ],
)
def test_a_bad_signed_url_is_refused_without_detail(request_: Any, reason: str) -> None:
    refused(judged(request_), 403, reason)


def test_clocks_may_differ_as_far_as_is_configured() -> None:
    for leeway_s in (0.0, 5.0, 60.0):
        for late, status in ((leeway_s - 1, None), (leeway_s, 403)):
            verdict = judged(facts(signed(URL)), settings(leeway_s=leeway_s), now=NOW + 60 + late)
            assert getattr(verdict, "status", None) == status


def test_head_is_a_get_without_its_body() -> None:
    assert admitted(judged(facts(signed(URL), method="HEAD"))).grant is not None


def test_a_bound_address() -> None:
    assert admitted(judged(facts(signed(URL, address="198.51.100.9")))).address == "198.51.100.9"


def test_a_public_url_is_what_grants_are_for() -> None:
    chosen = settings(public_url="https://x.example:8443")
    inside = {"host": "10.0.0.7:8000"}
    assert admitted(judged(facts(signed("https://x.example:8443/a"), inside, scheme="http"), chosen)).path == "/a"
    live = facts(signed("wss://x.example:8443/a"), inside, scheme="ws")
    assert admitted(judged(live, chosen)).path == "/a"
    refused(judged(facts(signed(URL)), chosen), 403, "bad_signature")


def test_single_use() -> None:
    memory = NonceMemory()
    request = facts(signed(URL, single_use=True))

    def spend(nonce: str, until: float) -> bool:
        return memory.spend(nonce, until, NOW)

    admitted(judged(request, spend=spend))
    refused(judged(request, spend=spend), 403, "already_used")


def test_a_prefix_covers_what_is_below_it_and_not_its_neighbours() -> None:
    grant = signed(f"http://{HOST}/data/", prefix=True).partition("?")[2]
    assert admitted(judged(facts(f"http://{HOST}/data/a/b?q=+;=&{grant}"))).query == "q=+;="
    refused(judged(facts(f"http://{HOST}/database?{grant}")), 403, "bad_signature")


TWICE = [
    "%252e%252e%252fadmin",
    "x/%25%32%65",
    "..%3B/admin",
    "..%20/admin",
    "...%20;x/admin",
    "%20../admin",
    ".../a",
    "a/..%3b",
    "a/.%20",
]


@pytest.mark.parametrize("rest", TWICE)
def test_what_an_upstream_could_read_as_a_way_out_of_the_prefix_is_refused(rest: str) -> None:
    """It decodes twice, or drops what stands behind a semicolon, or spaces at the end of a segment."""
    grant = signed(f"http://{HOST}/data/", prefix=True).partition("?")[2]
    refused(judged(facts(f"http://{HOST}/data/{rest}?{grant}")), 403, "malformed")
    refused(judged(facts(IN_PATH.replace("file.bin", rest))), 403, "malformed")
    assert isinstance(judged(facts(f"http://{HOST}/static/{rest}"), PUBLIC), Refused)


@pytest.mark.parametrize(
    "rest", ["..a", "a..", ".well-known/x", "a.b/c.d", "100%25", "50%25-off", "a%20b", "x;..", "a/..b/.c", "%20a"]
)
def test_what_leads_nowhere_else_is_not(rest: str) -> None:
    grant = signed(f"http://{HOST}/data/", prefix=True).partition("?")[2]
    assert admitted(judged(facts(f"http://{HOST}/data/{rest}?{grant}"))).path == f"/data/{rest}"
    assert admitted(judged(facts(IN_PATH.replace("file.bin", rest)))).path == f"/data/{rest}"
    admitted(judged(facts(f"http://{HOST}/static/{rest}"), PUBLIC))


def test_what_was_signed_as_it_is_comes_in_as_it_is() -> None:
    for path in ("/a%2525", "/..%20/x", "/..%3B/x"):
        assert admitted(judged(facts(signed(f"http://{HOST}{path}")))).path == path


# ---- the path form, and what else is below /atlas-access


def test_the_path_form_is_rewritten() -> None:
    got = admitted(judged(facts(f"{IN_PATH}?start=3")))
    assert (got.how, got.path, got.query) == ("signed_path", "/data/file.bin", "start=3")
    neighbour = IN_PATH.replace("file.bin", "seg/1.ts")
    assert admitted(judged(facts(neighbour))).path == "/data/seg/1.ts"
    refused(judged(facts(IN_PATH.replace("/data/", "/dato/"))), 403, "bad_signature")
    refused(judged(facts(IN_PATH), now=NOW + 3600), 403, "expired")


@pytest.mark.parametrize(
    "path",
    [
        "/atlas-access",
        "/atlas-access/",
        "/atlas-access/x",
        "/atlas-access/x/y",
        "/atlas-access/health/",
        "/atlas-access/health/x",
        "/atlas-access/Health",
        f"/atlas-access/{GRANT}/data/file.bin",
        "/Atlas-Access/health",
        "/%61tlas-access/health",
        "//atlas-access/health",
        "/atlas-access;x/health",
        "/%61tlas-access/health/../health",
    ],
)
def test_nothing_else_is_there(path: str) -> None:
    verdict = judged(facts(f"http://{HOST}{path}"))
    assert isinstance(verdict, Refused) and verdict.status == 403
    assert isinstance(judged(facts(f"http://{HOST}{path}", bearer())), Refused)


def test_no_grant_leads_to_the_guards_own_paths() -> None:
    grant = signed(f"http://{HOST}/", prefix=True).partition("?")[2]
    for path in ("/atlas-access/health", "/atlas-access/x", "/%61tlas-access/x", "/Atlas-Access"):
        assert isinstance(judged(facts(f"http://{HOST}{path}?{grant}", method="POST")), Refused)
        assert not isinstance(judged(facts(f"http://{HOST}{path}?{grant}")), Admitted)
    inner = signed_path(f"http://{HOST}/x").replace("/x", f"/atlas-access/{GRANT}/x")
    refused(judged(facts(inner)), 403, "malformed")


def test_health_is_answered_without_a_credential() -> None:
    url = f"http://{HOST}/atlas-access/health"
    assert judged(facts(url)) == Answered("health")
    assert judged(facts(url, bearer("wrong"), method="HEAD")) == Answered("health")
    refused(judged(facts(url, method="POST")), 403, "malformed")
    refused(judged(facts(url.replace("http", "ws"))), 403, "malformed")


# ---- public paths


PUBLIC = settings(public_paths=("/healthz", "/static/"))


@pytest.mark.parametrize("path", ["/healthz", "/static/", "/static/a/b.css"])
def test_public_paths_need_no_credential(path: str) -> None:
    got = admitted(judged(facts(f"http://{HOST}{path}?v=1"), PUBLIC))
    assert (got.how, got.path, got.query, got.is_signed) == ("public", None, "v=1", False)


@pytest.mark.parametrize(
    "path",
    [
        "/healthz/",
        "/healthz2",
        "/static",
        "/staticx",
        "/static/../data",
        "/static/%2e%2e/data",
        "/static/..;/data",
        "/static//x",
        "/static/%61",
        "/%73tatic/a",
        "/static/a%2fb",
        "/static/\\..\\data",
        "/Static/a",
        "/static/caf\xe9",
        "/static/a%00",
        "static/",
    ],
)
def test_what_could_be_read_in_two_ways_is_not_public(path: str) -> None:
    assert isinstance(judged(facts(URL, path=path), PUBLIC), Refused)


def test_a_credential_on_a_public_path_counts_for_nothing() -> None:
    got = admitted(judged(facts(signed(f"http://{HOST}/static/a?v=1")), PUBLIC))
    assert (got.how, got.query, got.grant) == ("public", "v=1", None)
    assert admitted(judged(facts(f"http://{HOST}/static/a", bearer("wrong")), PUBLIC)).how == "public"
    invalid_request(judged(facts(signed(f"http://{HOST}/static/a"), bearer()), PUBLIC))


# ---- the Host header, and requests that name the whole URL


@pytest.mark.parametrize(
    "host",
    [None, [], "", [HOST, HOST], "a b", "a/b", "a?b", f"user@{HOST}", f"{HOST}:0", f"{HOST}:99999", f"{HOST}.", "[::1", "a,b",
     f"{HOST}:80:80", "x" * 300, "caf\xe9.example", f"{HOST}#", f"{HOST}\\x"],
)  # fmt: skip
def test_a_malformed_host_is_refused_before_anything_else(host: Any) -> None:
    for url in (URL, f"http://{HOST}/atlas-access/health", f"http://{HOST}/healthz"):
        refused(judged(facts(url, {**bearer(), "host": host}), PUBLIC), 400, "malformed")


@pytest.mark.parametrize("host", [HOST, HOST.upper(), "127.0.0.1:8000", "[::1]:80", "localhost", "a_b.example"])
def test_well_formed_hosts(host: str) -> None:
    admitted(judged(facts(URL, {**bearer(), "host": host})))


def test_a_request_may_name_the_whole_url_of_its_host() -> None:
    query = signed(URL).partition("?")[2]
    assert admitted(judged(facts(URL, path=URL, query=query))).path == "/data/file.bin"
    assert admitted(judged(facts(URL, path=IN_PATH))).path == "/data/file.bin"
    for other in ("http://evil.example/data", f"http://{HOST}:81/x", f"ftp://{HOST}/x", f"http://{HOST}@evil.example/"):
        refused(judged(facts(URL, bearer(), path=other)), 400, "malformed")


def test_the_path_that_was_judged_is_what_goes_on() -> None:
    for path, headers in (("/healthz", {}), ("/data", bearer())):
        assert admitted(judged(facts(URL, headers, path=path), PUBLIC)).path is None
        assert admitted(judged(facts(URL, headers, path=f"http://{HOST}{path}"), PUBLIC)).path == path


def test_a_path_without_a_slash_is_not_glued_to_the_port() -> None:
    other = signed(f"http://{HOST}:8000/s").partition("?")[2]
    refused(judged(facts(URL, path="00/s", query=other), settings(public_url=f"http://{HOST}")), 403, "malformed")
    refused(judged(facts(f"http://{HOST}:80/", path="00/s", query=other)), 403, "malformed")


# ---- revocation


def test_when_access_is_revoked_nobody_comes_in() -> None:
    gone = replace(settings().verifier(), revoked=True)
    for request, status in (
        (facts(URL), 401),
        (facts(URL, bearer()), 401),
        (facts(GRANTED), 403),
        (facts(IN_PATH), 403),
        (facts(f"http://{HOST}/healthz"), 403),
        (facts(WS, offer(f"atlas-bearer.{TOKEN.token}")), 401),
    ):
        verdict = judged(request, PUBLIC, verifier=gone)
        assert isinstance(verdict, Refused) and verdict.status == status


def test_what_lets_in_may_cease_to() -> None:
    before = settings().verifier()
    by_token, by_url = admitted(judged(facts(URL, bearer()))), admitted(judged(facts(GRANTED)))
    public = admitted(judged(facts(f"http://{HOST}/healthz"), PUBLIC))
    for later, holds in (
        (before, (True, True, True)),
        (Verifier(frozenset(), {"k1": KEY}, 0), (False, True, True)),
        (Verifier(before.hashes, {}, 1), (True, False, True)),
        (Verifier(before.hashes, {"k2": KEY}, 0), (True, True, True)),
        (replace(before, revoked=True), (False, False, False)),
    ):
        assert tuple(still_holds(each, later) for each in (by_token, by_url, public)) == holds


# ---- behind proxies


def test_the_visitors_scheme_host_and_address_behind_a_trusted_proxy() -> None:
    chosen = settings(trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),))
    url = signed("https://x.example/a", address="203.0.113.5")
    headers = {
        "host": "10.0.0.7:8000",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "x.example",
        "x-forwarded-for": "203.0.113.5",
    }
    request = facts(url, headers, scheme="http", peer="10.0.0.1")
    assert admitted(judged(request, chosen)).address == "203.0.113.5"
    refused(judged(request._replace(peer="198.51.100.1"), chosen), 403, "bad_signature")
    refused(judged(request), 403, "bad_signature")
    forged = {**headers, "x-forwarded-for": "203.0.113.5, 198.51.100.77"}
    refused(judged(facts(url, forged, scheme="http", peer="10.0.0.1"), chosen), 403, "bad_signature")
