"""Whose word is taken for the visitor's scheme, host and address."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from atlas_session.guard._forwarded import forwarded_address, look
from tests.unit.session.guard._kit import facts

TRUSTED = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        (["203.0.113.5", "10.0.0.2", "10.1.1.1"], "203.0.113.5"),
        (["6.6.6.6, 203.0.113.5,10.0.0.2"], "203.0.113.5"),  # what the visitor wrote itself stands to the left
        (["nonsense, 203.0.113.5"], "203.0.113.5"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([" \t203.0.113.5\t"], "203.0.113.5"),
        (["2001:db8:1::7, 2001:db8:2::5"], "2001:db8:2::5"),
        (["2001:db8:2::5, 2001:db8:1::7"], "2001:db8:2::5"),
        (["203.0.113.5, ::ffff:10.0.0.2"], "203.0.113.5"),
        ([], None),
        ([""], None),
        (["203.0.113.5, "], None),
        (["203.0.113.5, unknown"], None),
        (["203.0.113.5, 10.0.0.2:4711"], None),
        (["203.0.113.5:4711"], None),
        (["[2001:db8:2::5]"], None),
        (["fe80::1%eth0"], None),
        (["203.0.113.5, 10.0.0.2\0"], None),
        (["0x0a000001"], None),
        (["203.0.113.005"], None),
        (["1" * 5000], None),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy(lines: list[str], address: str | None) -> None:
    assert forwarded_address(lines, TRUSTED) == address


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("10.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("2001:db8:1::1", True),
        ("11.0.0.1", False),
        ("2001:db8:2::1", False),
        ("fe80::1%eth0", False),
        ("unix", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_trusted_peer_is_believed(peer: str | None, believed: bool) -> None:
    headers = {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "https", "x-forwarded-host": "x.example"}
    seen = look(facts("http://pod.example:81/a", headers, peer=peer), TRUSTED)
    if believed:
        assert seen == ("https", "x.example", 443, "203.0.113.5")
    else:
        assert seen == ("http", "pod.example", 81, peer)


def test_nobody_is_believed_by_default() -> None:
    headers = {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "https", "x-forwarded-host": "x.example"}
    assert look(facts("http://pod.example/a", headers, peer="127.0.0.1"), ()) == (
        "http",
        "pod.example",
        80,
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("scheme", "told", "seen"),
    [
        ("http", ["https"], "https"),
        ("http", ["HTTPS"], "https"),
        ("https", ["http"], "http"),
        ("ws", ["https"], "wss"),
        ("ws", ["wss"], "wss"),
        ("http", ["wss"], "https"),
        ("http", ["http, https"], "https"),
        ("http", ["https", "http"], "http"),
        ("http", ["gopher"], "http"),
        ("https", [""], "https"),
        ("ws", [], "ws"),
        ("nonsense", [], "http"),
    ],
)
def test_the_scheme_behind_a_proxy(scheme: str, told: list[str], seen: str) -> None:
    websocket = scheme in ("ws", "wss")
    request = facts(
        "http://x.example/a", {"x-forwarded-proto": told}, scheme=scheme, websocket=websocket, peer="10.0.0.1"
    )
    assert look(request, TRUSTED).scheme == seen


@pytest.mark.parametrize(
    ("told", "host"),
    [
        (["x.example"], ("x.example", 80)),
        (["X.Example:81"], ("x.example", 81)),
        (["evil.example, x.example"], ("x.example", 80)),
        (["evil.example", "x.example"], ("x.example", 80)),
        (["x/y"], ("pod.example", 80)),
        ([""], ("pod.example", 80)),
        ([], ("pod.example", 80)),
    ],
)
def test_the_host_behind_a_proxy(told: list[str], host: Any) -> None:
    seen = look(facts("http://pod.example/a", {"x-forwarded-host": told}, peer="10.0.0.1"), TRUSTED)
    assert (seen.host, seen.port) == host
