"""Laws of the pure part: when an event is sent again, and where it may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pulumi_atlas.rules.sessions.addresses import judge_address, networks_of
from pulumi_atlas.rules.sessions.webhooks import (
    ATTEMPTS,
    JITTER,
    MOST_ASKED_S,
    MOST_THROTTLED_S,
    SCHEDULE_S,
    WHOLE_SCHEDULE_S,
    Answer,
    judge_answer,
    retry_after_s,
)

STATUSES = st.one_of(
    st.none(), st.sampled_from([200, 204, 299, 300, 302, 404, 410, 429, 500, 502, 503, 504]), st.integers(100, 599)
)
ASKED = st.none() | st.floats(-10, 1e9)
CHANCES = st.floats(0, 1)
HTTPS, HTTP = "https", "http"


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    hour = 3600
    assert (0, 5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour) == SCHEDULE_S
    assert pytest.approx(75.6 * hour * 1.1, rel=0.001) == WHOLE_SCHEDULE_S


@given(status=STATUSES, asked=ASKED, attempt=st.integers(1, 15), chance=CHANCES, throttled=st.integers(0, 5000))
def test_every_answer_has_one_meaning(
    status: int | None, asked: float | None, attempt: int, chance: float, throttled: int
) -> None:
    _hold_the_laws(status, asked, attempt, chance, throttled)


def test_every_answer_has_one_meaning_at_all_edges() -> None:
    statuses = (None, 100, 199, 200, 204, 299, 300, 302, 400, 404, 409, 410, 411, 429, 500, 501, 502, 503, 504, 505)
    for status in statuses:
        for attempt in range(1, 13):
            for asked in (None, -1.0, 0.0, 60.0, 3600.0, 1e9, float("inf")):
                for throttled in (0, 3, 100):
                    _hold_the_laws(status, asked, attempt, 0.5, throttled)


def _hold_the_laws(status: int | None, asked: float | None, attempt: int, chance: float, throttled: int) -> None:
    judged = judge_answer(
        Answer(status, asked, "" if status else "no answer"), attempt=attempt, chance=chance, throttled=throttled
    )
    good = status is not None and 200 <= status < 300
    assert (judged.outcome == "delivered") == good
    assert (judged.outcome == "gone") == (status == 410)
    assert (judged.outcome == "given_up") == (not good and status != 410 and attempt >= ATTEMPTS)
    assert bool(judged.error) == (not good)
    less = status in (429, 502, 504)
    assert judged.throttle_s == 0 or less
    if less and asked is not None:
        assert judged.throttle_s == min(max(0.0, asked), MOST_ASKED_S)
    assert 0 <= judged.throttle_s <= MOST_ASKED_S
    if less and asked is None:
        assert 5 <= judged.throttle_s <= MOST_THROTTLED_S
    if judged.outcome == "again":
        planned = SCHEDULE_S[attempt]
        assert planned <= judged.wait_s <= max(planned * (1 + JITTER), MOST_ASKED_S)
        assert judged.wait_s >= max(judged.throttle_s, min(asked or 0.0, MOST_ASKED_S))
        if asked is None and not less:
            assert judged.wait_s == pytest.approx(planned * (1 + JITTER * chance))
    else:
        assert judged.wait_s == 0


@given(first=CHANCES, second=CHANCES, attempt=st.integers(1, 9))
def test_chance_only_makes_a_wait_longer(first: float, second: float, attempt: int) -> None:
    low, high = sorted([first, second])
    waits = [judge_answer(Answer(500), attempt=attempt, chance=one).wait_s for one in (low, high)]
    assert waits == sorted(waits)


@given(chances=st.lists(CHANCES, min_size=9, max_size=9))
def test_the_whole_schedule_is_never_longer_than_it_says(chances: list[float]) -> None:
    waits = [judge_answer(Answer(500), attempt=number, chance=one).wait_s for number, one in enumerate(chances, 1)]
    assert sum(waits) <= WHOLE_SCHEDULE_S + 0.001


def test_a_throttle_without_a_time_doubles_up_to_its_limit() -> None:
    found = [judge_answer(Answer(429), attempt=1, chance=0, throttled=one).throttle_s for one in range(9)]
    assert found == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@given(seconds=st.integers(0, 10**15))
def test_retry_after_in_seconds(seconds: int) -> None:
    found = retry_after_s(f" {seconds} ", now=0)
    assert found == seconds


@given(ahead=st.integers(-100_000, 100_000))
def test_retry_after_as_a_date(ahead: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    text = format_datetime(now + timedelta(seconds=ahead), usegmt=True)
    assert retry_after_s(text, now=now.timestamp()) == max(0, ahead)
    nowhere = text.replace("GMT", "-0000")  # RFC 5322: UTC, without saying where
    assert retry_after_s(nowhere, now=now.timestamp()) == max(0, ahead)


@given(st.text())
@example("")
@example("-5")
@example("1.5")
@example("²")
@example("Fri, 31 Feb 2026 00:00:00 GMT")
@example("Thu, 01 Jan 0001 00:00:00 +2359")
@example("Thu, 01 Jan 9999 00:00:00 -9999")
def test_retry_after_that_makes_no_sense_is_none_or_bounded(text: str) -> None:
    found = retry_after_s(text, now=1e9)
    assert found is None or found >= 0


def test_retry_after_that_is_absent_or_no_time() -> None:
    assert [retry_after_s(one, now=0) for one in (None, "", "-5", "1.5", "soon", "²")] == [None] * 6


# -- addresses


@given(st.ip_addresses())
def test_what_the_standard_library_calls_not_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert judge_address(address, scheme="https", allowed=()) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1"),
        *("198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "100.100.100.200", "192.31.196.1", "192.52.193.1", "192.175.48.1"),
        *("::", "::1", "::7f00:1", "::ffff:8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1"),
        *("2001::1", "2001:10::1", "2001:db8::1", "2002:808:808::1", "2620:4f:8000::1", "3fff::1", "4000::1"),
        *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "fe80::1%eth0"),
    ],
)
def test_no_special_address_is_allowed_by_itself(text: str) -> None:
    address = ip_address(text)
    for scheme in (HTTPS, HTTP):
        why = judge_address(address, scheme=scheme, allowed=networks_of(["192.168.77.0/24"]))  # type: ignore[arg-type]
        assert why is not None and str(address) in why


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("::", "an address of this machine"),
        ("::1", "loopback"),
        ("::ffff:8.8.8.8", "an IPv4 address in disguise"),
        ("64:ff9b::808:808", "an IPv4 address in disguise"),
        ("64:ff9b:1::1", "an IPv4 address in disguise"),
        ("fd00::1", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "an address of a carrier's network"),
    ],
)
def test_the_reason_says_what_the_address_is(text: str, what: str) -> None:
    address = ip_address(text)
    assert judge_address(address, scheme="https", allowed=()) == f"{address} is {what}"


@pytest.mark.parametrize(
    "text",
    [
        *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "126.255.255.255", "169.253.1.1"),
        *("223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"),
    ],
)
def test_the_public_internet_is_open_to_https_only(text: str) -> None:
    assert judge_address(ip_address(text), scheme="https", allowed=()) is None
    assert judge_address(ip_address(text), scheme="http", allowed=()) is not None


@given(address=st.ip_addresses(), prefix=st.integers(0, 32), scheme=st.sampled_from([HTTP, HTTPS]))
def test_an_allowed_network_is_open_and_opens_nothing_else(
    address: IPv4Address | IPv6Address, prefix: int, scheme: str
) -> None:
    (network,) = networks_of([f"{IPv4Address(0x0A000000 >> (32 - prefix) << (32 - prefix) if prefix else 0)}/{prefix}"])
    with_it = judge_address(address, scheme=scheme, allowed=[network])  # type: ignore[arg-type]
    without = judge_address(address, scheme=scheme, allowed=())  # type: ignore[arg-type]
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else address
    assert with_it == (None if mapped is not None and mapped in network else without)


@given(st.ip_addresses(v=4))
def test_a_disguised_address_is_allowed_only_when_it_or_what_it_is_was_named(address: IPv4Address) -> None:
    value = int(address)
    mapped = IPv6Address(0xFFFF << 32 | value)
    disguised = [
        mapped,
        IPv6Address(0x64FF9B << 96 | value),
        IPv6Address(0x2002 << 112 | value << 80),
        IPv6Address(value),
    ]
    for one in disguised:
        assert judge_address(one, scheme="https", allowed=()) is not None
        assert judge_address(one, scheme="https", allowed=networks_of(["::/0"])) is None
    assert judge_address(mapped, scheme="http", allowed=networks_of([f"{address}/32"])) is None
    assert judge_address(disguised[1], scheme="http", allowed=networks_of([f"{address}/32"])) is not None
