"""The signer is told what is wrong with each argument, in words, and never reads its key there."""

from __future__ import annotations

from typing import Any

import pytest

from atlas_session import CannotSign, KeyRing, MasterKey, derive_key, mint_token
from atlas_session._frame import b64url
from tests.unit.session._signing import KEY, NOW, signed, signed_path

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": None}, "the URL must be text"),
    ({"url": b"https://pod.example/"}, "the URL must be text"),
    ({"url": "/only/a/path"}, "no absolute URL"),
    ({"url": "ftp://pod.example/"}, "none of http, https, ws, wss"),
    ({"url": "https:///a"}, "the host is malformed"),
    ({"url": "https://ü.example/"}, "the host is malformed"),
    ({"url": "https://pod.example:99999/"}, "beyond 65535"),
    ({"url": "https://pod.example/#a"}, "fragment"),
    ({"url": "https://pod.example/a\nb"}, "characters that a URL cannot hold"),
    ({"url": "https://pod.example/\ud800"}, "half a character"),
    ({"url": "https://pod.example/a//b"}, "empty segment"),
    ({"url": "https://pod.example/a/../b"}, "dot segment"),
    ({"url": "https://pod.example/%2f"}, "encoded character that is not allowed"),
    ({"url": "https://pod.example/%ff"}, "not UTF-8"),
    ({"url": "https://pod.example/100%"}, "two hexadecimal digits"),
    ({"url": "https://pod.example/?100%"}, "two hexadecimal digits"),
    ({"url": "https://pod.example/?a&&b"}, "empty parameter"),
    ({"url": "https://pod.example/?atlas-access=x"}, "'atlas-access' is reserved"),
    ({"url": "https://pod.example/atlas-access/x"}, "reserved segment"),
    ({"url": "https://pod.example/" + "a" * 8100}, "longer than 8,192"),
    ({"url": "https://pod.example/" + "a" * 9000}, "too long"),
    ({"url": "https://pod.example/a", "prefix": True}, "must end with '/'"),
    ({"url": "https://pod.example/a/?b", "prefix": True}, "may have none"),
    ({"key": "k" * 32}, "are the least"),
    ({"key": "not base64url, and 32 characters"}, "unpadded base64url"),
    ({"key": "A" * 42 + "B"}, "unpadded base64url"),
    ({"key": None}, "a key must be bytes"),
    ({"key": bytearray(32)}, "a key must be bytes"),
    ({"key": b"short"}, "the key has 5 bytes; 32 are the least"),
    ({"kid": ""}, "1 to 32 letters"),
    ({"kid": "k.1"}, "1 to 32 letters"),
    ({"kid": "k1\n"}, "1 to 32 letters"),
    ({"kid": "k" * 33}, "1 to 32 letters"),
    ({"kid": b"k1"}, "1 to 32 letters"),
    *(
        ({"expires_in_s": wrong}, "from 1 to 604,800")
        for wrong in (0, -1, 604_801, 1.5, "60", None, True, float("nan"))
    ),
    ({"expires_in_s": float("inf")}, "from 1 to 604,800"),
    *(
        ({"method": wrong}, "one word in capitals")
        for wrong in ("get", "", "GET ", "GET\n", "A" * 17, None, b"GET", "Ä")
    ),
    *(({"generation": wrong}, "a generation is") for wrong in (-1, 10**12, 1.5, "3", None, True)),
    *(({"not_before": wrong}, "not_before must be") for wrong in (0, -5, 10**12 - 1, 1.5, "now", float("nan"), True)),
    *(({"now": wrong}, "must be unix seconds") for wrong in ("now", float("nan"), float("inf"), -1, 10**12, b"")),
    *(({"address": wrong}, "no IPv4 or IPv6") for wrong in ("", "localhost", "192.0.2.1/32", "fe80::1%lo", 1, b"::1")),
]


def test_a_key_may_be_text_as_a_pod_gives_it() -> None:
    assert signed(key=b64url(KEY)) == signed(key=KEY)


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_each_wrong_argument_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotSign) as caught:
        signed(**changes)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert str(KEY)[2:-1] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "https://pod.example/a?b"}, "may have none"),
        ({"url": "https://pod.example/a?atlas-access=1"}, "reserved"),
        ({"expires_in_s": 901}, "from 1 to 900"),
        ({"kid": "k.1"}, "1 to 32"),
        ({"address": "x"}, "no IPv4"),
        ({"key": b"x"}, "32 are the least"),
        ({"generation": -1}, "a generation is"),
        ({"not_before": 0}, "not_before"),
    ],
)
def test_each_wrong_argument_of_the_path_form_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotSign) as caught:
        signed_path(**changes)
    assert words in str(caught.value)


def test_whole_numbers_may_be_floats() -> None:
    assert signed(expires_in_s=600.0, generation=3.0, not_before=float(NOW)) == signed()


def test_not_before_is_now_unless_given() -> None:
    assert signed(now=NOW + 0.9) == signed()
    assert signed(now=5, not_before=NOW) == signed()
    assert f".{NOW + 605}.{NOW + 5}." in signed(not_before=NOW + 5)


def test_the_longest_url_that_can_be_signed_is_one_that_verifies() -> None:
    room = 8192 - len(signed("https://pod.example/"))
    assert len(signed("https://pod.example/" + "a" * room)) == 8192
    with pytest.raises(CannotSign, match="longer"):
        signed("https://pod.example/" + "a" * (room + 1))
    with pytest.raises(CannotSign, match="longer"):
        signed("https://pod.example/" + "<" * (room // 3 + 1))  # each becomes three


def test_keys_and_tokens_say_what_is_wrong() -> None:
    with pytest.raises(CannotSign, match="needs a key"):
        mint_token(context=b"s-1")
    for key in (b"short", bytes(31)):
        with pytest.raises(CannotSign, match="32 are the least"):
            mint_token(key=key)
        with pytest.raises(CannotSign, match="32 are the least"):
            derive_key(key, purpose="url", session_id="s-1")
        with pytest.raises(CannotSign, match="32 are the least"):
            MasterKey("k1", key)
    for wrong in ("k" * 32, None, 32):
        with pytest.raises(CannotSign, match="bytes"):
            MasterKey("k1", wrong)  # type: ignore[arg-type]
        with pytest.raises(CannotSign, match="bytes"):
            derive_key(wrong, purpose="url", session_id="s-1")  # type: ignore[arg-type]
    for kid in ("", "a.b", "k" * 33, None):
        with pytest.raises(CannotSign, match="key id"):
            MasterKey(kid, KEY)  # type: ignore[arg-type]


def test_a_ring_has_one_key_at_least_each_id_once_and_a_first_that_stays() -> None:
    one, same = MasterKey("k1", KEY), MasterKey("k1", KEY[::-1])
    for keys in ((), (one, same)):
        with pytest.raises(CannotSign, match="at least one key"):
            KeyRing(keys)
    with pytest.raises(CannotSign, match="cannot be one that retires"):
        KeyRing((MasterKey("k1", KEY, NOW),))
    with pytest.raises(CannotSign, match="overlap"):
        KeyRing.new().rotated(now=NOW, overlap_s=-1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"version": 2, "keys": []}',
        '{"version": 1}',
        '{"version": 1, "keys": []}',
        '{"version": 1, "keys": [1]}',
        '{"version": 1, "keys": ["k1"]}',
        '{"version": 1, "keys": [{"kid": "k1"}]}',
        '{"version": 1, "keys": [{"kid": "k1", "key": "c2VjcmV0", "retires_at": null}]}',
        '{"version": 1, "keys": [{"kid": "k1", "key": 7, "retires_at": null}]}',
        '{"version": 1, "keys": [{"kid": "k1", "key": "%s=", "retires_at": null}]}' % ("A" * 43),
        '{"version": 1, "keys": [{"kid": 1, "key": "%s", "retires_at": null}]}' % ("A" * 43),
        '{"version": 1, "keys": [{"kid": "k1", "key": "%s", "retires_at": Infinity}]}' % ("A" * 43),
        '{"version": 1, "keys": [{"kid": "k1", "key": "%s", "retires_at": 1}]}' % ("A" * 43),
        "[" * 100_000,
    ],
    ids=range(17),
)
def test_what_is_no_ring_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(CannotSign) as caught:
        KeyRing.from_json(text)
    assert "c2VjcmV0" not in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_a_ring_says_its_own_json() -> None:
    good = '{"version": 1, "keys": [{"kid": "k1", "key": "%s", "retires_at": null}]}' % ("A" * 43)
    assert KeyRing.from_json(good).to_json() == good
    for wrong in ("Infinity", "1.5", '"1767225600"', "true"):
        old = good[good.index("[{") + 1 : -2].replace("k1", "k0").replace("null", wrong)
        with pytest.raises(CannotSign, match="no key ring"):
            KeyRing.from_json(good.replace("}]}", "}, " + old + "]}"))
    with pytest.raises(CannotSign, match="of this version is not known"):
        KeyRing.from_json(good.replace('"version": 1', '"version": 2'))
