"""What a guard is told, and that it refuses to start when that verifies nobody."""

from __future__ import annotations

from typing import Any

import pytest

from atlas_session._frame import b64url
from atlas_session.guard import Guard, GuardConfigError, GuardSettings, WsgiGuard
from tests.unit.session.guard._kit import GUARD_KEY, KEY, TOKEN, Echo, settings

TRIO = {
    "ATLAS_SESSION_ID": "s1",
    "ATLAS_COMPANION_URL": "https://companion.example/atlas",
    "ATLAS_GUARD_KEY": GUARD_KEY,
}
HASHES = {"ATLAS_TOKEN_HASHES": TOKEN.hash}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(GuardConfigError) as caught:
        GuardSettings.from_env(environ)
    return caught.value.problems


def test_everything_is_read() -> None:
    got = GuardSettings.from_env(
        {
            "ATLAS_TOKEN_HASHES": f"{'0' * 64}, {TOKEN.hash}",
            "ATLAS_URL_KEYS": f"k1:{b64url(KEY)},k2:{b64url(KEY[::-1])}",
            "ATLAS_GENERATION": "3",
            **TRIO,
            "ATLAS_PUBLIC_URL": "https://x.example:8443",
            "ATLAS_ORIGINS": "https://App.example:443,http://localhost:5173,null",
            "ATLAS_TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32,192.0.2.1",
            "ATLAS_PUBLIC_PATHS": "/healthz,/static/",
            "ATLAS_ACTIVITY": "http,ws",
        }
    )
    assert got.token_hashes == {"0" * 64, TOKEN.hash}
    assert got.url_keys == {"k1": KEY, "k2": KEY[::-1]}
    assert (got.generation, got.session_id, got.guard_key) == (3, "s1", GUARD_KEY)
    assert got.companion_url == "https://companion.example/atlas"
    assert got.public is not None and got.public[:3] == ("https", "x.example", 8443)
    assert got.origins == {"https://app.example", "http://localhost:5173", "null"}
    assert [str(network) for network in got.trusted_proxies] == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]
    assert got.public_paths == ("/healthz", "/static/")
    assert got.sources == {"http", "ws"}


@pytest.mark.parametrize("environ", [HASHES, {"ATLAS_URL_KEYS": f"k:{b64url(KEY)}"}, TRIO])
def test_one_thing_that_verifies_is_enough(environ: dict[str, str]) -> None:
    got = GuardSettings.from_env(environ)
    assert (got.generation, got.origins, got.trusted_proxies, got.public_url) == (0, frozenset(), (), None)


@pytest.mark.parametrize("environ", [{}, {"ATLAS_TOKEN_HASHES": " "}, {"ATLAS_PUBLIC_PATHS": "/open"}])
def test_nothing_that_verifies_is_refused(environ: dict[str, str]) -> None:
    (problem,) = problems(environ)
    assert problem.startswith("ATLAS_TOKEN_HASHES, ATLAS_URL_KEYS: nothing here verifies anybody")


def test_a_guard_without_settings_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in (Guard, WsgiGuard):
        with pytest.raises(GuardConfigError):
            make(Echo())  # type: ignore[arg-type]
    monkeypatch.setenv("ATLAS_TOKEN_HASHES", TOKEN.hash)
    assert Guard(Echo()).settings.token_hashes == {TOKEN.hash}


WRONG = [
    ("ATLAS_TOKEN_HASHES", TOKEN.token),
    ("ATLAS_TOKEN_HASHES", TOKEN.hash.upper()),
    ("ATLAS_TOKEN_HASHES", f"{TOKEN.hash},"),
    ("ATLAS_URL_KEYS", b64url(KEY)),
    ("ATLAS_URL_KEYS", f"k1:{b64url(KEY[:31])}"),
    ("ATLAS_URL_KEYS", f"k1:{b64url(KEY)}="),
    ("ATLAS_URL_KEYS", f"k.1:{b64url(KEY)}"),
    ("ATLAS_URL_KEYS", f"k1:{b64url(KEY)},k1:{b64url(KEY[::-1])}"),
    ("ATLAS_GENERATION", "-1"),
    ("ATLAS_GENERATION", "01"),
    ("ATLAS_GENERATION", "1.0"),
    ("ATLAS_GENERATION", "²"),
    ("ATLAS_PUBLIC_URL", "https://x.example/"),
    ("ATLAS_PUBLIC_URL", "https://x.example/app"),
    ("ATLAS_PUBLIC_URL", "wss://x.example"),
    ("ATLAS_PUBLIC_URL", "x.example"),
    ("ATLAS_PUBLIC_URL", "https://user@x.example"),
    ("ATLAS_ORIGINS", "app.example"),
    ("ATLAS_ORIGINS", "https://*.example"),
    ("ATLAS_ORIGINS", "https://app.example/page"),
    ("ATLAS_TRUSTED_PROXIES", "*"),
    ("ATLAS_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("ATLAS_TRUSTED_PROXIES", "proxy.example"),
    ("ATLAS_PUBLIC_PATHS", "healthz"),
    ("ATLAS_PUBLIC_PATHS", "/a/../b"),
    ("ATLAS_PUBLIC_PATHS", "/%61"),
    ("ATLAS_PUBLIC_PATHS", "/"),
    ("ATLAS_PUBLIC_PATHS", "/atlas-access/"),
    ("ATLAS_ACTIVITY", "gpu"),
    ("ATLAS_SESSION_ID", "s/1"),
    ("ATLAS_GUARD_KEY", "short"),
    ("ATLAS_GUARD_KEY", "with spaces in its middle"),
    ("ATLAS_COMPANION_URL", "http://companion.example"),
    ("ATLAS_COMPANION_URL", "ws://127.0.0.1"),
    ("ATLAS_COMPANION_URL", "https://companion.example/?a=b"),
    ("ATLAS_COMPANION_URL", "companion.example"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_is_wrong_is_named_and_not_quoted(name: str, value: str) -> None:
    found = problems({**HASHES, **TRIO, name: value})
    assert [problem.partition(":")[0] for problem in found] == [name]
    assert not any(part and part in found[0] for part in value.split(":") if len(part) > 10)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = problems(
        {"ATLAS_TOKEN_HASHES": "x", "ATLAS_GENERATION": "x", "ATLAS_SESSION_ID": "s1", "ATLAS_ORIGINS": "x"}
    )
    assert {problem.partition(":")[0] for problem in found} == {
        "ATLAS_TOKEN_HASHES",
        "ATLAS_GENERATION",
        "ATLAS_ORIGINS",
        "ATLAS_COMPANION_URL",
        "ATLAS_GUARD_KEY",
    }


@pytest.mark.parametrize("missing", TRIO)
def test_a_companion_needs_all_three(missing: str) -> None:
    environ = {name: value for name, value in {**HASHES, **TRIO}.items() if name != missing}
    (problem,) = problems(environ)
    assert problem.startswith(f"{missing}: missing")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert GuardSettings.from_env({**TRIO, "ATLAS_COMPANION_URL": url}).companion_url == url


def test_plain_http_can_be_allowed() -> None:
    environ = {**TRIO, "ATLAS_COMPANION_URL": "http://companion.example"}
    assert problems({**environ, "ATLAS_ALLOW_HTTP": "true"})
    assert GuardSettings.from_env({**environ, "ATLAS_ALLOW_HTTP": "1"}).companion_url == "http://companion.example"


def test_nothing_secret_in_its_text() -> None:
    text = repr(GuardSettings.from_env({**HASHES, **TRIO, "ATLAS_URL_KEYS": f"k1:{b64url(KEY)}"}))
    assert GUARD_KEY not in text and repr(KEY) not in text and b64url(KEY) not in text
    assert repr(KEY) not in repr(settings().verifier())


@pytest.mark.parametrize(
    "changes",
    [
        {"token_hashes": frozenset({"x"})},
        {"url_keys": {"k1": b"short"}},
        {"url_keys": {"k 1": KEY}},
        {"url_keys": {"k1": "text" * 10}},
        {"generation": -1},
        {"leeway_s": 61},
        {"leeway_s": -1},
        {"leeway_s": float("nan")},
        {"realm": 'a"b'},
        {"realm": "a\nb"},
        {"origins": frozenset({"https://App.example"})},
        {"public_paths": ("/a//b",)},
        {"public_paths": ("/",)},
        {"sources": frozenset({"x"})},
        {"public_url": "https://x.example/"},
    ],
)
def test_values_given_by_hand_are_checked_too(changes: dict[str, Any]) -> None:
    with pytest.raises(GuardConfigError):
        settings(**changes)
