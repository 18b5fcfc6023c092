"""Signing and verifying with the arguments that most tests share."""

from __future__ import annotations

from typing import Any

from atlas_session import AccessDenied, Grant, sign_path, sign_url, verify_path, verify_url
from atlas_session.grants import sign

KEY, OTHER_KEY = bytes(range(32)), bytes(range(100, 140))
KEYS = {"k1": KEY}
NOW = 1_767_225_600
URL = "https://pod.example/files/a.bin?x=1&y=2"


def signed(url: str = URL, **changes: Any) -> str:
    """The URL, signed with KEY for 600 s from NOW for generation 3, or with the changes given."""
    return sign_url(url, **{"key": KEY, "kid": "k1", "expires_in_s": 600, "now": NOW, "generation": 3, **changes})


def signed_path(url: str = "https://pod.example/hls/a.m3u8", **changes: Any) -> str:
    return sign_path(url, **{"key": KEY, "kid": "k1", "expires_in_s": 600, "now": NOW, "generation": 3, **changes})


def allowed(url: Any, **changes: Any) -> Grant:
    return verify_url(url, **{"keys": KEYS, "method": "GET", "generation": 3, "now": NOW, **changes})


def allowed_path(url: Any, **changes: Any) -> Grant:
    return verify_path(url, **{"keys": KEYS, "method": "GET", "generation": 3, "now": NOW, **changes})


def reason(url: Any, **changes: Any) -> str:
    """``ok`` or the reason for refusal."""
    try:
        allowed(url, **changes)
    except AccessDenied as denied:
        return denied.reason
    return "ok"


def reason_path(url: Any, **changes: Any) -> str:
    try:
        allowed_path(url, **changes)
    except AccessDenied as denied:
        return denied.reason
    return "ok"


def forged(text: str, *, path: str = "/a", query: str = "", network: str = "", key: bytes = KEY) -> str:
    """A grant for https://pod.example with a right signature over a text that no signer would write."""
    return f"{text}.{sign(key, text, 'https', 'pod.example', 443, path, query, network)}"


def with_grant(grant: str, url: str = "https://pod.example/a") -> str:
    return f"{url}{'&' if '?' in url else '?'}atlas-access={grant}"


def grant_of(url: str) -> str:
    return url.rpartition("atlas-access=")[2]
