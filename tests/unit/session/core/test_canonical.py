"""Corners of taking a URL apart that no vector shows, and that the work is bounded."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from atlas_session import _canonical, grants, keys, tokens, urls
from atlas_session._canonical import Parts, canonical_path, canonical_query, netloc_of, split, take_reserved
from atlas_session.addresses import network_of
from atlas_session.errors import Malformed
from tests.unit.session._signing import reason, reason_path, signed


def test_a_url_is_taken_apart() -> None:
    assert split("HTTPS://Pod.Example:8443/A?B=c") == Parts("https", "pod.example", 8443, "/A", "B=c")
    assert split("ws://h") == split("ws://h:80/") == split("ws://h/?") == Parts("ws", "h", 80, "/", "")
    assert split("https://h:8443/").netloc == "h:8443"
    assert split("https://h:443/").netloc == "h"
    assert split("wss://h:80/").netloc == "h:80"


@pytest.mark.parametrize(
    "character", [chr(c) for c in (*range(0x21), 0x23, 0x5C, 0x7F, 0x80, 0xA0, 0xFF, 0x3002, 0xFF0F)]
)
@pytest.mark.parametrize("where", ["https://h{}/a?b", "https://h/a{}?b", "https://h/a?b{}", "https{}://h/a?b"])
def test_characters_that_no_url_holds(where: str, character: str) -> None:
    with pytest.raises(Malformed):
        split(where.format(character))


@pytest.mark.parametrize("text", ["pod.example", "POD.example:80", "[::1]:80", "[2001:DB8::]", "_a-b", "1.2.3.4", "0"])
def test_hosts(text: str) -> None:
    assert netloc_of(text, 80) == (text.lower().removesuffix(":80"), 80)


@pytest.mark.parametrize(
    "text", ["\u212aod.example", "pod.exampl\u0435", "pod.example\n", "ſ.example", "１.example", "[::1\n]"]
)
def test_hosts_that_only_look_like_one(text: str) -> None:
    with pytest.raises(Malformed):
        netloc_of(text, 80)


def test_an_ipv6_host_has_one_spelling_on_every_python() -> None:
    """Python 3.13 writes IPv4 in IPv6 with dots, those before it do not."""
    for text in ("::ffff:192.0.2.7", "::FFFF:c000:0207", "0:0:0:0:0:ffff:c000:207"):
        assert netloc_of(f"[{text}]", 80)[0] == "[::ffff:c000:207]"
    assert netloc_of("[::ffff:0.0.0.0]", 80)[0] == "[::ffff:0:0]"
    assert netloc_of("[::192.0.2.7]", 80)[0] == "[::c000:207]"
    assert netloc_of("[64:ff9b::192.0.2.7]", 80)[0] == "[64:ff9b::c000:207]"


def test_the_longest_host() -> None:
    assert netloc_of("a" * 253 + ":65535", 80) == ("a" * 253, 65535)
    with pytest.raises(Malformed):
        netloc_of("a" * 260, 80)


@pytest.mark.parametrize(
    ("query", "value", "rest"),
    [
        ("", None, ""),
        ("a=1&b", None, "a=1&b"),
        ("a&&b", None, "a&&b"),
        ("a=atlas-access", None, "a=atlas-access"),
        ("a=atlas-access=1", None, "a=atlas-access=1"),
        ("atlas-access=", "", ""),
        ("atlas-access=x", "x", ""),
        ("atlas-access=x=y", "x=y", ""),
        ("a=1&atlas-access=x", "x", "a=1"),
        ("atlas-access=x&a=1", "x", "a=1"),
        ("a=%&atlas-access=x&b=+", "x", "a=%&b=+"),
        ("a=atlas-access&atlas-access=x", "x", "a=atlas-access"),
        ("a=atlas-access=1&atlas-access=x", "x", "a=atlas-access=1"),
        ("atlas-access=atlas-access=x", "atlas-access=x", ""),
        ("xatlas-access=1&atlas-access=x", "x", "xatlas-access=1"),
        ("%2561tlas-access=1&atlas-access=x", "x", "%2561tlas-access=1"),
    ],
)
def test_the_reserved_parameter_is_taken_out(query: str, value: str | None, rest: str) -> None:
    assert take_reserved(query) == (value, rest)


@pytest.mark.parametrize(
    "query",
    [
        "atlas-access",
        "atlas-access&a",
        "atlas-access=x&atlas-access=y",
        "atlas-access=x&atlas-access",
        "ATLAS-ACCESS=x",
        "%61tlas-access=x",
        "a=1&atlas%2Daccess",
        "atlas-access=x&%41TLAS%2daccess=y",
        "&atlas-access=x",
        "atlas-access=x&",
        "a&&atlas-access=x",
        "atlas-access=x&a&&b",
    ],
)
def test_the_reserved_parameter_is_refused(query: str) -> None:
    with pytest.raises(Malformed):
        take_reserved(query)


def test_names_are_sorted_and_their_values_keep_their_order() -> None:
    assert canonical_query("c=3&a=2&b&a=1&a&c=1") == "a=2&a=1&a&b&c=3&c=1"


def test_a_signer_reads_a_query_as_forms_do() -> None:
    assert canonical_query("a b=c+d;e=f/g", form=True) == "a%20b=c%20d%3Be%3Df%2Fg"
    assert canonical_query("é=\U0001f600", form=True) == "%C3%A9=%F0%9F%98%80"
    with pytest.raises(Malformed):
        canonical_query("a=\ud800", form=True)
    with pytest.raises(Malformed):
        canonical_path("/\ud800")


def test_networks_of_what_is_no_text() -> None:
    for address in (None, 1, b"::1", ipaddress.ip_address("::1"), ["::1"], "1" * 100):
        assert network_of(address) is None


# ---- bounded work

LONG = [
    "a",
    "%61",
    "%C3%A9",
    "/a",
    "/.",
    "a=",
    "&",
    "a&",
    "b=1&",
    "%",
    ".",
    "=",
    "-",
    "a-",
    "atlas-access=",
    "&atlas-access",
    "[",
]


@pytest.mark.parametrize("piece", LONG)
@pytest.mark.parametrize("where", ["https://{}", "https://h/{}", "https://h/?{}", "https://h/?{}&atlas-access=x", "{}"])
def test_twice_as_long_costs_about_twice_as_many_steps(where: str, piece: str) -> None:
    """Counted in lines of Python that run, up to the greatest length that is looked at."""
    steps = [_lines_run(lambda n=n: reason(where.format(piece * n))) for n in (200, 400, 800)]
    base = _lines_run(lambda: reason(where.format(piece)))
    assert steps[2] - base <= 2.2 * (steps[1] - base) + 50
    assert steps[1] - base <= 2.2 * (steps[0] - base) + 50


def test_what_is_too_long_costs_nothing() -> None:
    short = _lines_run(lambda: reason("https://h/" + "%61" * 3000))
    assert short == _lines_run(lambda: reason("https://h/" + "%61" * 300_000)) < 30


def test_a_good_url_as_long_as_may_be() -> None:
    parameters = "&".join(f"{n:x}=%C3%A9" for n in range(700, 1, -1))
    assert reason(signed(f"https://pod.example/a?{parameters}")) == "ok"
    assert reason_path("https://h/atlas-access/" + "a" * 8000) == "malformed"


def _lines_run(function: Callable[[], object]) -> int:
    count = 0

    def local(_frame: Any, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(local)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def patterns() -> Iterator[tuple[str, str]]:
    modules: list[ModuleType] = [_canonical, grants, keys, tokens, urls]
    for module in modules:
        for name, value in vars(module).items():
            found = value.values() if isinstance(value, dict) else [value]
            yield from ((f"{module.__name__}.{name}", one.pattern) for one in found if isinstance(one, re.Pattern))


@pytest.mark.parametrize(("name", "pattern"), sorted(set(patterns())))
def test_no_pattern_can_go_back_far(name: str, pattern: str) -> None:
    """Each repetition without a bound ends where a character stands that it cannot hold: nothing is tried twice.

    The exceptions: `_NETLOC`, since a label may not end with a dash, whose text has 259 characters at most; and the one slash
    at the end in `_PLAIN_PATH`, which is one step back.
    """
    found = {what.rpartition(" before ")[2] for what in _ambiguous(pattern)}
    assert not found or name.endswith("._NETLOC") or (name.endswith("._PLAIN_PATH") and found == {"[47]"}), found


def test_the_check_of_patterns_can_fail() -> None:
    for bad in ("(a+)+b", "a*ab", "(?:a*b?)*c", "[a-z]*[x-z]", "(?:a|b)*b", "(?:/[a/]*)+x"):
        assert set(_ambiguous(bad)), bad
    for good in ("a*b", "(?:/[a-z]*)+", "[a-z]+(?:=[a-z]*)?(?:&[a-z]+)*", "a{1,9}a", "(?:a|b)*c"):
        assert not set(_ambiguous(good)), good


def _ambiguous(pattern: str) -> Iterator[str]:
    """Unbounded repetitions after which, or in whose next round, a character may stand that they could have taken."""
    from re import _parser  # type: ignore[attr-defined]

    yield from _walk(list(_parser.parse(pattern)), frozenset())


Chars = frozenset[int]
ALL: Chars = frozenset(range(128))


def _walk(items: list[Any], after: Chars) -> Iterator[str]:
    for place, (kind, value) in enumerate(items):
        rest, empty = _first(items[place + 1 :])
        follow = rest | (after if empty else frozenset())
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            _low, high, body = value
            begin, may_be_empty = _first(list(body))
            if str(high) == "MAXREPEAT" and (begin & follow or may_be_empty):
                yield f"{value!r} before {sorted(begin & follow)}"
            yield from _walk(list(body), follow if high == 1 else follow | begin)
        elif name == "SUBPATTERN":
            yield from _walk(list(value[-1]), follow)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from _walk(list(branch), follow)


def _first(items: list[Any]) -> tuple[Chars, bool]:
    """Characters that may stand first, and whether nothing at all may stand there."""
    found: Chars = frozenset()
    for kind, value in items:
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            one, empty = _first(list(value[2]))
            empty = empty or value[0] == 0
        elif name == "SUBPATTERN":
            one, empty = _first(list(value[-1]))
        elif name == "BRANCH":
            several = [_first(list(branch)) for branch in value[1]]
            one, empty = frozenset().union(*(first for first, _ in several)), any(empty for _, empty in several)
        else:
            one, empty = _class(name, value), False
        found |= one
        if not empty:
            return found, False
    return found, True


def _class(name: str, value: Any) -> Chars:
    if name == "LITERAL":
        return frozenset([value])
    if name == "NOT_LITERAL":
        return ALL - {value}
    if name != "IN":
        return ALL
    found: Chars = frozenset()
    negated = False
    for kind, inner in value:
        negated = negated or str(kind) == "NEGATE"
        if str(kind) == "LITERAL":
            found |= {inner}
        elif str(kind) == "RANGE":
            found |= frozenset(range(inner[0], inner[1] + 1))
    return ALL - found if negated else found
