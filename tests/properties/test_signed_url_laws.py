"""What holds for every signed URL."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from atlas_session import AccessDenied, CannotSign, Grant, KeyRing, sign_path, sign_url, verify_path, verify_url
from atlas_session._canonical import canonical_path, canonical_query, netloc_of, split, take_reserved
from atlas_session._frame import frame
from atlas_session.addresses import network_of
from atlas_session.errors import Malformed
from atlas_session.grants import message, parse
from tests.properties._urls import (
    ADDRESSES,
    ANYTHING,
    ENCODABLE,
    FOLDERS,
    GENERATIONS,
    HOSTS,
    KEYS,
    KIDS,
    METHODS,
    NOW,
    OPTIONS,
    PAIRS,
    PATHS,
    PORTS,
    QUERIES,
    SCHEMES,
    SEGMENTS,
    URLS,
    joined,
    written,
)

Options = dict[str, Any]
Pairs = list[tuple[str, str | None]]


def verify(url: Any, options: Options, **changes: Any) -> Grant:
    """With everything as it was signed, at the beginning of its time, or with the changes given."""
    usual: Options = {
        "keys": {options["kid"]: options["key"]},
        "method": options["method"],
        "generation": options["generation"],
        "now": options["not_before"],
        "leeway_s": 0,
    }
    return verify_url(url, **{**usual, **changes})


def reason(url: Any, options: Options, **changes: Any) -> str:
    try:
        verify(url, options, **changes)
    except AccessDenied as denied:
        return denied.reason
    return "ok"


# ---- what was signed verifies


@given(url=URLS, options=OPTIONS, address=st.none() | ADDRESSES)
def test_what_was_signed_verifies(url: str, options: Options, address: str | None) -> None:
    signed = sign_url(url, address=address, **options)
    grant = verify(signed, options, address=address)
    parts = split(url)
    assert (grant.path, grant.query) == (canonical_path(parts.path), canonical_query(parts.query))
    assert grant.expires_at - grant.not_before == options["expires_in_s"]
    assert (grant.kid, grant.method, grant.generation) == (options["kid"], options["method"], options["generation"])
    assert grant.address_bound == (address is not None)
    assert grant.prefix is grant.nonce is None


@given(parts=st.tuples(SCHEMES, HOSTS, PORTS), folder=FOLDERS, below=PATHS, pairs=QUERIES, options=OPTIONS)
def test_all_below_a_prefix_verifies(
    parts: tuple[str, str, str], folder: str, below: str, pairs: Pairs, options: Options
) -> None:
    signed = sign_url("{}://{}{}".format(*parts) + folder, prefix=True, **options)
    asked = signed.replace("?", f"{below[1:]}?" + (f"{written(pairs)}&" if pairs else ""))
    assume(not f"{split(asked).path}/".startswith("/atlas-access/"))
    grant = verify(asked, options)
    assert (grant.prefix, grant.path) == (canonical_path(folder), canonical_path(folder + below[1:]))
    assert grant.query == written(pairs)


@given(parts=st.tuples(SCHEMES, HOSTS, PORTS), folder=FOLDERS, last=SEGMENTS, other=SEGMENTS, options=OPTIONS)
def test_all_in_the_folder_of_a_path_verifies(
    parts: tuple[str, str, str], folder: str, last: str, other: str, options: Options
) -> None:
    assume("atlas-access" not in (folder, last, other))
    options = {**options, "expires_in_s": min(options["expires_in_s"], 900)}
    del options["method"]
    signed = sign_path("{}://{}{}".format(*parts) + folder + last, **options)
    base, _, _ = signed.rpartition("/")
    keys = {options["kid"]: options["key"]}
    for name in (last, other):
        grant = verify_path(
            f"{base}/{name}", keys=keys, method="GET", generation=options["generation"], now=options["not_before"]
        )
        assert (grant.path, grant.prefix) == (canonical_path(folder + name), canonical_path(folder))


@given(url=URLS, options=OPTIONS)
def test_signing_is_a_function_of_its_arguments_and_spelling_does_not_matter(url: str, options: Options) -> None:
    signed = sign_url(url, **options)
    assert sign_url(url, **options) == signed
    without = signed.rpartition("atlas-access=")[0][:-1]
    assert sign_url(without, **options) == signed


@given(
    text=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="%&#+\\")),
    options=OPTIONS,
)
def test_whatever_people_write_into_a_query_arrives(text: str, options: Options) -> None:
    signed = sign_url(f"https://pod.example/?q={text}", **options)
    assert verify(signed, options).query == f"q={quote(text, safe='')}"


# ---- what was changed does not


@given(url=URLS, options=OPTIONS, data=st.data())
def test_any_other_method_is_refused(url: str, options: Options, data: st.DataObject) -> None:
    other = data.draw(METHODS | ANYTHING)
    assume(other != options["method"] and not (options["method"] == "GET" and other == "HEAD"))
    assert reason(sign_url(url, **options), options, method=other) == "wrong_method"


@given(
    one=st.tuples(SCHEMES, HOSTS, PORTS, PATHS, QUERIES),
    other=st.tuples(SCHEMES, HOSTS, PORTS, PATHS, QUERIES),
    which=st.integers(0, 4),
    options=OPTIONS,
)
def test_any_other_scheme_host_port_path_or_query_is_refused(
    one: tuple[Any, ...], other: tuple[Any, ...], which: int, options: Options
) -> None:
    changed = (*one[:which], other[which], *one[which + 1 :])
    grant = sign_url(joined(*one), **options).rpartition("atlas-access=")[2]
    url, target = joined(*one), joined(*changed)
    assume(_meaning(url) != _meaning(target))
    asked = f"{target}{'&' if '?' in target else '?'}atlas-access={grant}"
    assert reason(asked, options) == "bad_signature"


def _meaning(url: str) -> tuple[Any, ...]:
    scheme, host, port, path, query = split(url)
    return scheme, host, port, canonical_path(path), canonical_query(query)


@given(pairs=st.lists(PAIRS, min_size=1, max_size=4), new=PAIRS, options=OPTIONS, data=st.data())
def test_any_change_of_parameters_is_refused(
    pairs: Pairs, new: tuple[str, str | None], options: Options, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(pairs) - 1))
    name, value = pairs[place]
    how = data.draw(st.sampled_from(["added", "removed", "renamed", "changed", "doubled", "emptied"]))
    changed = {
        "added": [*pairs[:place], new, *pairs[place:]],
        "removed": [*pairs[:place], *pairs[place + 1 :]],
        "renamed": [*pairs[:place], (new[0], value), *pairs[place + 1 :]],
        "changed": [*pairs[:place], (name, new[1]), *pairs[place + 1 :]],
        "doubled": [*pairs[:place], pairs[place], *pairs[place:]],
        "emptied": [*pairs[:place], (name, "" if value is None else None), *pairs[place + 1 :]],
    }[how]
    assume(_as_map(changed) != _as_map(pairs))
    grant = sign_url(f"https://pod.example/?{written(pairs)}", **options).rpartition("=")[2]
    query = written(changed)
    asked = f"https://pod.example/?{query}{'&' if query else ''}atlas-access={grant}"
    assert reason(asked, options) == "bad_signature"


@given(pairs=st.lists(PAIRS, min_size=2, max_size=5), options=OPTIONS, data=st.data())
def test_order_matters_among_parameters_of_one_name_only(pairs: Pairs, options: Options, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(pairs))
    grant = sign_url(f"https://pod.example/?{written(pairs)}", **options).rpartition("=")[2]
    asked = f"https://pod.example/?{written(shuffled)}&atlas-access={grant}"
    expected = "ok" if _as_map(shuffled) == _as_map(pairs) else "bad_signature"
    assert reason(asked, options) == expected


def _as_map(pairs: Pairs) -> dict[str, list[str | None]]:
    """What a multi-map of them is: written independently of the code under test."""
    found: dict[str, list[str | None]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


@given(url=URLS, options=OPTIONS, leeway=st.integers(-10, 100), now=st.integers(-10, 10**12))
def test_time_is_a_half_open_interval(url: str, options: Options, leeway: int, now: int) -> None:
    signed = sign_url(url, **options)
    begin, end, slack = options["not_before"], options["not_before"] + options["expires_in_s"], min(max(leeway, 0), 60)
    for at in (now, begin - slack - 1, begin - slack, begin, end - 1, end, end + slack - 1, end + slack):
        expected = "not_yet_valid" if at < begin - slack else "expired" if at >= end + slack else "ok"
        assert reason(signed, options, now=at, leeway_s=leeway) == expected


@given(url=URLS, options=OPTIONS, other=GENERATIONS)
def test_any_other_generation_is_refused(url: str, options: Options, other: int) -> None:
    assume(other != options["generation"])
    assert reason(sign_url(url, **options), options, generation=other) == "revoked"


@given(url=URLS, options=OPTIONS, key=KEYS, kid=KIDS)
def test_any_other_key_is_refused(url: str, options: Options, key: bytes, kid: str) -> None:
    signed = sign_url(url, **options)
    if key.rstrip(b"\0") != options["key"].rstrip(b"\0"):  # HMAC pads with zeros
        assert reason(signed, options, keys={options["kid"]: key}) == "bad_signature"
    if kid != options["kid"]:
        assert reason(signed, options, keys={kid: options["key"]}) == "unknown_key"
        text = signed.replace(f"=u1.{options['kid']}.", f"=u1.{kid}.")
        assert reason(text, options, keys={kid: options["key"]}) == "bad_signature"


@given(url=URLS, options=OPTIONS, address=ADDRESSES, other=st.none() | ADDRESSES | st.text())
def test_any_other_network_is_refused(url: str, options: Options, address: str, other: str | None) -> None:
    signed = sign_url(url, address=address, **options)
    same = network_of(other) == network_of(address)
    assert reason(signed, options, address=other) == ("ok" if same else "bad_signature")


@given(url=URLS, options=OPTIONS, address=st.none() | ADDRESSES, data=st.data())
def test_any_other_character_of_the_grant_is_refused(
    url: str, options: Options, address: str | None, data: st.DataObject
) -> None:
    signed = sign_url(url, address=address, **options)
    begin = signed.rindex("atlas-access=") + len("atlas-access=")
    place = data.draw(st.integers(begin, len(signed) - 1))
    character = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=&%~") | ENCODABLE
    )
    keys = dict.fromkeys([options["kid"], *_neighbours(options["kid"])], options["key"])
    for changed in (
        signed[:place] + character + signed[place + 1 :],
        signed[:place] + character + signed[place:],
        signed[:place] + signed[place + 1 :],
    ):
        if changed != signed:
            assert reason(changed, options, address=address, keys=keys) in ("malformed", "bad_signature", "unknown_key")


def _neighbours(kid: str) -> list[str]:
    """Ids that a changed character could lead to: the worst case is that they have the same key."""
    letters = "ABCabc01-_"
    return [kid[:i] + letter + kid[i + 1 :] for i in range(len(kid)) for letter in letters]


@given(folder=FOLDERS, path=PATHS, options=OPTIONS)
def test_a_prefix_covers_what_is_below_it_and_nothing_else(folder: str, path: str, options: Options) -> None:
    grant = sign_url(f"https://pod.example{folder}", prefix=True, **options).rpartition("=")[2]
    below = canonical_path(path).startswith(canonical_path(folder))
    given = reason(f"https://pod.example{path}?atlas-access={grant}", options)
    assert given == ("ok" if below else "bad_signature")


# ---- one spelling


@given(path=PATHS | st.text() | st.from_regex(r"/([a.%;~+]|%2[efEF]|%[46]1|/|%C3%A9){0,12}", fullmatch=True))
@example("/..")
@example("/%2e")
def test_a_canonical_path_is_its_own(path: str) -> None:
    try:
        once = canonical_path(path)
    except Malformed:
        return
    assert canonical_path(once) == once
    assert re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*", once)
    assert "//" not in once
    assert not {".", ".."} & {segment.partition(";")[0] for segment in once.split("/")}
    assert not re.search(r"%(?![0-9A-F]{2})|%(2E|2F|5C|[01].|7F)", once)


@given(query=QUERIES.map(written) | st.text() | st.from_regex(r"([ab=&%+;]|%2[bB]|%6[1a]){0,12}", fullmatch=True))
def test_a_canonical_query_is_its_own(query: str) -> None:
    for form in (False, True):
        try:
            once = canonical_query(query, form=form)
        except Malformed:
            continue
        assert canonical_query(once) == canonical_query(once, form=True) == once
        assert re.fullmatch(r"[A-Za-z0-9._~%=&-]*", once)
        names = [pair.partition("=")[0] for pair in once.split("&")]
        assert names == sorted(names)


@given(url=URLS, options=OPTIONS, data=st.data())
def test_equivalent_spellings_verify(url: str, options: Options, data: st.DataObject) -> None:
    """RFC 3986 section 6.2.2: case of scheme, host and hexadecimal digits, and encoded unreserved characters."""
    grant = sign_url(url, **options).rpartition("atlas-access=")[2]
    scheme, rest = url.split("://")
    authority, slash, behind = rest.partition("/")
    target, mark, query = behind.partition("?")
    letters = st.lists(st.booleans(), min_size=len(behind), max_size=len(behind))
    choices = iter(data.draw(letters))
    path = "".join([_encoded(c) if c != "." and next(choices) else c for c in _units(target)])
    query = "".join([_encoded(c) if next(choices) else c for c in _units(query)])
    asked = f"{scheme.upper()}://{authority.upper()}{slash}{path}{mark}{query}{'&' if query else (mark and '') or '?'}"
    assert reason(f"{asked}atlas-access={grant}", options) == "ok"


def _units(text: str) -> list[str]:
    return re.findall(r"%..|.", text)


def _encoded(unit: str) -> str:
    """The same in another spelling: digits in the other case, or encoded, when it is unreserved."""
    if len(unit) > 1:
        return unit.lower()
    return f"%{ord(unit):02x}" if unit.isalnum() or unit in "-_~." else unit


@given(fields=st.lists(st.binary(max_size=12), max_size=5), others=st.lists(st.binary(max_size=12), max_size=5))
def test_different_fields_give_different_frames(fields: list[bytes], others: list[bytes]) -> None:
    assert (frame(*fields) == frame(*others)) == (fields == others)


@given(st.lists(st.text(st.characters(max_codepoint=0x7F)), min_size=6, max_size=6), st.integers(1, 65535))
def test_the_message_is_a_frame(texts: list[str], port: int) -> None:
    text, scheme, host, path, query, network = texts
    fields = ["atlas-session", text, scheme, host, str(port), path, query, network]
    assert message(text, scheme, host, port, path, query, network) == frame(*(field.encode() for field in fields))


@given(url=URLS, options=OPTIONS, address=st.none() | ADDRESSES)
def test_the_text_of_a_grant_is_the_only_one_of_its_claims(url: str, options: Options, address: str | None) -> None:
    grant = sign_url(url, address=address, **options).rpartition("atlas-access=")[2]
    claims, text, signature = parse(grant, "url")
    assert claims.text() == text
    assert f"{text}.{signature}" == grant


# ---- whatever comes in


@given(url=ANYTHING | URLS, method=ANYTHING, generation=ANYTHING, address=ANYTHING, now=st.floats() | st.integers())
def test_no_request_raises_anything_but_a_refusal(
    url: Any, method: Any, generation: Any, address: Any, now: float
) -> None:
    for verify_one in (verify_url, verify_path):
        with pytest.raises(AccessDenied):
            verify_one(url, keys={"k1": bytes(32)}, method=method, generation=generation, address=address, now=now)


@given(
    text=st.text() | st.text(st.sampled_from("au1.k-xp%&=?/#@:[]\\;+~ \ud800\0")),
    method=ANYTHING,
    address=ANYTHING,
    generation=ANYTHING,
    now=st.floats() | st.integers(),
    options=OPTIONS,
)
def test_nothing_around_a_good_grant_raises_anything_but_a_refusal(
    text: str, method: Any, address: Any, generation: Any, now: float, options: Options
) -> None:
    good = sign_url("https://pod.example/a?b=1", address="::1", **options)
    place = good.index("?")
    for url in (
        good + text,
        good[:place] + text + good[place:],
        good.replace("pod", text),
        text + good,
        good[: len(text)],
    ):
        if url == good:
            continue
        try:
            verify(url, options, method=method, address=address, generation=generation, now=now)
        except AccessDenied:
            continue
        raise AssertionError(f"{url!r} was let in")


@given(options=OPTIONS, method=ANYTHING, address=ANYTHING, generation=ANYTHING, now=st.floats() | st.integers())
def test_a_good_grant_with_strange_facts_raises_only_refusals(
    options: Options, method: Any, address: Any, generation: Any, now: float
) -> None:
    good = sign_url("https://pod.example/a?b=1", address="192.0.2.7", **options)
    for changes in ({"method": method}, {"address": address}, {"generation": generation}, {"now": now}):
        facts: Options = {"address": "192.0.2.7", **changes}
        same = changes in ({"method": options["method"]}, {"generation": options["generation"]})
        if not same and "now" not in changes and network_of(address) != "192.0.2.7/32":
            assert reason(good, options, **facts) in ("wrong_method", "bad_signature", "revoked")
        else:
            reason(good, options, **facts)


@given(
    url=ANYTHING | URLS,
    expires=ANYTHING,
    kid=ANYTHING,
    method=ANYTHING,
    begin=ANYTHING,
    generation=ANYTHING,
    address=ANYTHING,
    now=ANYTHING,
    key=ANYTHING,
    which=st.integers(0, 8),
)
def test_a_signer_says_what_is_wrong(
    url: Any,
    expires: Any,
    kid: Any,
    method: Any,
    begin: Any,
    generation: Any,
    address: Any,
    now: Any,
    key: Any,
    which: int,
) -> None:
    given = {"expires_in_s": expires, "kid": kid, "method": method, "not_before": begin, "key": key}
    given |= {"generation": generation, "address": address, "now": now}
    good: Options = {"key": bytes(32), "kid": "k", "expires_in_s": 9, "method": "GET", "now": NOW}
    good |= {"generation": 0, "address": None, "not_before": None}
    if which < 8:
        name = list(given)[which]
        good[name] = given[name]
        url = "https://pod.example/a"
    try:
        signed = sign_url(url, **good)
    except CannotSign as refusal:
        assert str(refusal)
        return
    generation, method = good["generation"], good["method"]
    begin = next((int(value) for value in (good["not_before"], good["now"]) if value is not None), None)
    verify_url(
        signed,
        keys={good["kid"]: good["key"]},
        method=method,
        generation=generation,
        address=good["address"],
        now=begin,
    )


@given(text=ANYTHING)
def test_addresses_hosts_and_queries_take_anything(text: Any) -> None:
    assert network_of(text) is None or isinstance(text, str)
    with_text = str(text)
    for function in (
        lambda: netloc_of(with_text, 80),
        lambda: canonical_path(with_text),
        lambda: canonical_query(with_text),
        lambda: canonical_query(with_text, form=True),
        lambda: take_reserved(with_text),
        lambda: parse(with_text, "url"),
        lambda: split(text),
    ):
        try:
            function()
        except Malformed:
            continue


@given(
    query=st.lists(st.sampled_from(["atlas-access=x", "%61tlas-access=y", "ATLAS-access", "a=1", "", "atlas-access"]))
)
def test_the_reserved_parameter_is_found_or_refused_however_it_stands(query: list[str]) -> None:
    ours = [pair for pair in query if pair not in ("a=1", "")]
    text = "&".join(query)
    try:
        value, rest = take_reserved(text)
    except Malformed:
        assert ours
        assert ours != ["atlas-access=x"] or "" in query
        return
    if value is None:
        assert (ours, rest) == ([], text)
    else:
        assert (ours, value) == (["atlas-access=x"], "x")
        assert rest.split("&") == [pair for pair in query if pair != ours[0]] or (rest, query) == ("", ours)


# ---- keys


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 5000)), min_size=1, max_size=4), st.data())
def test_what_an_old_key_signed_verifies_until_it_retires(turns: list[tuple[int, int]], data: st.DataObject) -> None:
    ring, now, until = KeyRing.new(), NOW, {}
    urls = {}
    for wait, overlap in turns:
        kid, key = ring.sign_with("s-1", generation=2)
        urls[kid] = sign_url("https://pod.example/a", key=key, kid=kid, expires_in_s=604_800, now=NOW, generation=2)
        now += wait
        ring = ring.rotated(now=now, overlap_s=overlap)
        until[kid] = now + overlap
    for kid, url in urls.items():
        edges = [until[kid] - 1, until[kid], until[kid] + 1, now]
        at = data.draw(st.sampled_from([edge for edge in edges if edge >= now]))
        keys = ring.url_keys("s-1", generation=2, now=at)
        try:
            verify_url(url, keys=keys, method="GET", generation=2, now=NOW)
        except AccessDenied as denied:
            assert denied.reason == "unknown_key"
            assert at >= until[kid]
        else:
            assert at < until[kid]


# ---- once


@given(st.lists(st.integers(0, 3), max_size=12), OPTIONS)
def test_the_memory_is_asked_once_for_each_good_request_and_until_when(asked: list[int], options: Options) -> None:
    urls = [sign_url("https://pod.example/a", single_use=True, **options) for _ in range(4)]
    seen: list[tuple[str, float]] = []

    def spend(nonce: str, until: float) -> bool:
        seen.append((nonce, until))
        return [one for one, _ in seen].count(nonce) == 1

    for place, which in enumerate(asked):
        expected = "already_used" if which in asked[:place] else "ok"
        assert reason(urls[which], options, spend=spend, leeway_s=7) == expected
        for changes in ({"method": None}, {"now": 0}, {"generation": -1}, {"keys": {}}):
            assert reason(urls[which], options, spend=spend, **changes) not in ("ok", "already_used")
    assert len(seen) == len(asked)
    assert {until for _, until in seen} <= {options["not_before"] + options["expires_in_s"] + 7}
    nonces = {parse(url.rpartition("=")[2], "url")[0].nonce for url in urls}
    assert len(nonces) == 4
