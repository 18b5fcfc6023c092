"""What holds for the proxy's headers, whatever is sent."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from atlas_session.guard._proxy._headers import (
    BadFraming,
    Framing,
    Headers,
    Seen,
    handshake_headers,
    hop_by_hop,
    request_framing,
    request_headers,
    response_headers,
    without_hop_by_hop,
)

_ALWAYS = [b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade"]
_FRAMING = [b"content-length", b"transfer-encoding", b"host", b"expect"]
_FORWARDED = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-user", b"forwarded", b"x-real-ip"]
_FREE = [b"x-a", b"x-b", b"cookie", b"accept", b"connections", b"a_b", b"sec-websocket-protocol", b"sec-websocket-key"]


@st.composite
def _names(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(_ALWAYS + _FRAMING + _FORWARDED + _FREE))
    return draw(st.sampled_from([name, name.title(), name.upper(), name.replace(b"-", b"_")]))


_VALUES = st.one_of(
    st.sampled_from(
        [b"", b"close", b"chunked", b"5", b"X-A , x-b", b"content-length, host", b"x-forwarded-for, cookie"]
    ),
    st.lists(_names(), max_size=3).map(b", ".join),
)
_HEADERS = st.lists(st.tuples(_names(), _VALUES), max_size=12)
_SEEN = st.builds(
    Seen,
    st.sampled_from([None, "192.0.2.7", "2001:db8::1"]),
    st.sampled_from(["http", "https"]),
    st.just(b"pod.example"),
)
_FRAMINGS = st.sampled_from([Framing("none"), Framing("length", 7), Framing("chunked")])


@given(_HEADERS)
def test_filtering_twice_is_filtering_once(headers: Headers) -> None:
    once = without_hop_by_hop(headers)
    assert without_hop_by_hop(once) == once


@given(_HEADERS)
def test_nothing_of_this_leg_is_left_and_nothing_else_is_lost(headers: Headers) -> None:
    dropped = hop_by_hop(headers)
    kept = without_hop_by_hop(headers)
    assert all(name.lower() not in dropped and name.lower() not in _ALWAYS for name, _ in kept)
    others = [
        pair
        for pair in headers
        if pair[0].lower() not in dropped and pair[0].lower().replace(b"_", b"-") not in dropped
    ]
    assert kept == others  # the same ones, in the same order, with every duplicate


@given(_HEADERS)
@example([(b"Connection", b"close, Content-Length, host"), (b"content-length", b"5"), (b"Host", b"a")])
def test_what_makes_the_message_cannot_be_named_away(headers: Headers) -> None:
    for name in (b"content-length", b"host"):
        assert [p for p in without_hop_by_hop(headers) if p[0].lower() == name] == [
            p for p in headers if p[0].lower() == name
        ]


@given(_HEADERS, _SEEN, _FRAMINGS, st.sampled_from([None, b"up.example"]))
def test_the_upstream_gets_one_host_one_framing_and_our_word_for_who_asks(
    headers: Headers, seen: Seen, framing: Framing, host: bytes | None
) -> None:
    passed = request_headers(headers, seen, framing, host)
    plain = [(name.lower().replace(b"_", b"-"), value) for name, value in passed]
    values = {name: [value for other, value in plain if other == name] for name, _ in plain}
    received = [value for name, value in headers if name.lower() == b"host"]
    assert values[b"host"] == [host or [*received, b"pod.example"][0]]
    assert values.get(b"content-length", []) == ([b"7"] if framing.kind == "length" else [])
    assert values.get(b"transfer-encoding", []) == ([b"chunked"] if framing.kind == "chunked" else [])
    assert values.get(b"x-forwarded-for", []) == ([seen.address.encode()] if seen.address else [])
    assert values[b"x-forwarded-proto"] == [seen.scheme.encode()]
    assert values[b"x-forwarded-host"] == [b"pod.example"]
    ours = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
    assert not [name for name in values if (name.startswith(b"x-forwarded-") and name not in ours) or name in _ALWAYS]
    assert not {b"forwarded", b"x-real-ip", b"expect"} & set(values)
    assert not [name for name, _ in passed if b"_" in name]
    assert _free(passed) == [pair for pair in _free(without_hop_by_hop(headers)) if b"_" not in pair[0]]


@given(_HEADERS, _SEEN)
def test_a_handshake_is_made_anew(headers: Headers, seen: Seen) -> None:
    names = [name.lower() for name, _ in handshake_headers(headers, seen)]
    assert not [
        name for name in names if name.startswith(b"sec-websocket-") or name in (b"host", b"upgrade", b"connection")
    ]


@given(_HEADERS, st.sampled_from([200, 204, 206, 304, 404]))
def test_an_answer_has_at_most_one_length_and_no_coding(headers: Headers, status: int) -> None:
    passed = response_headers(headers, status)
    names = [name for name, _ in passed]
    assert names == [name.lower() for name in names]
    coded = any(name.lower() == b"transfer-encoding" for name, _ in headers)
    given = [value for name, value in headers if name.lower() == b"content-length"]
    assert [v for n, v in passed if n == b"content-length"] == ([] if coded or status in (204, 304) else given[:1])
    assert b"transfer-encoding" not in names
    expected = [(n.lower(), v) for n, v in without_hop_by_hop(headers) if n.lower() != b"content-length"]
    assert [pair for pair in passed if pair[0] != b"content-length"] == expected


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=6))
def test_any_bytes_have_a_framing_or_are_refused(headers: Headers) -> None:
    try:
        framing = request_framing(headers)
    except BadFraming:
        return
    named = [name.lower() for name, _ in headers]
    assert (framing.kind == "chunked") == (b"transfer-encoding" in named)
    assert (framing.kind == "none") == (b"transfer-encoding" not in named and b"content-length" not in named)


def _free(headers: Headers) -> Headers:
    """The headers that nobody has a reason to touch, in their order."""
    return [pair for pair in headers if pair[0].lower() in _FREE]
