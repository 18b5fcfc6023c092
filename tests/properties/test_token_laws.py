"""What holds for every token, key and key ring."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atlas_session import CannotSign, KeyRing, MasterKey, derive_key, mint_token, verify_token
from atlas_session._frame import b64url, unb64url
from atlas_session.tokens import hash_token, is_token
from tests.properties._urls import ANYTHING, GENERATIONS, KEYS, KIDS, NOW

PURPOSES = st.sampled_from(["url", "bearer", "touch", "guard"])
SESSIONS = st.text(st.characters(codec="utf-8"), max_size=12)
MASTER_KEYS = st.builds(MasterKey, KIDS, KEYS, st.none() | st.integers(NOW, NOW + 1000))


@st.composite
def rings(draw: st.DrawFn) -> KeyRing:
    keys = draw(st.lists(MASTER_KEYS, min_size=1, max_size=4, unique_by=lambda key: key.kid))
    return KeyRing((MasterKey(keys[0].kid, keys[0].secret), *keys[1:]))


def test_random_tokens_never_meet() -> None:
    minted = [mint_token() for _ in range(2000)]
    assert len({one.token for one in minted}) == len({one.hash for one in minted}) == 2000
    assert all(verify_token(one.token, one.hash) and is_token(one.token) for one in minted)


@given(key=KEYS, context=st.binary())
def test_a_derived_token_is_always_the_same_and_verifies(key: bytes, context: bytes) -> None:
    one = mint_token(key=key, context=context)
    assert one == mint_token(key=key, context=context)
    assert verify_token(one.token, one.hash)
    assert hash_token(one.token) == one.hash
    assert len(one.token) == 49


@given(key=KEYS, other=KEYS, context=st.binary(max_size=8), another=st.binary(max_size=8))
def test_tokens_of_another_key_or_context_are_others(key: bytes, other: bytes, context: bytes, another: bytes) -> None:
    one = mint_token(key=key, context=context)
    if context != another:
        two = mint_token(key=key, context=another)
        assert two.token != one.token
        assert not verify_token(two.token, one.hash)
    if key != other:
        assert mint_token(key=other, context=context).token != one.token


@given(master=KEYS, one=st.tuples(PURPOSES, SESSIONS, GENERATIONS), two=st.tuples(PURPOSES, SESSIONS, GENERATIONS))
def test_keys_of_another_purpose_session_or_generation_are_others(
    master: bytes, one: tuple[Any, str, int], two: tuple[Any, str, int]
) -> None:
    def derived(of: tuple[Any, str, int]) -> bytes:
        return derive_key(master, purpose=of[0], session_id=of[1], generation=of[2])

    assert (derived(one) == derived(two)) == (one == two)
    assert (mint_token(key=derived(one)) == mint_token(key=derived(two))) == (one == two)
    assert len(derived(one)) == 32


@given(key=KEYS, place=st.integers(0, 48), character=st.characters())
def test_any_other_character_of_a_token_is_refused(key: bytes, place: int, character: str) -> None:
    token, hashed = mint_token(key=key)
    assume(token[place] != character)
    for changed in (
        token[:place] + character + token[place + 1 :],
        token[:place] + character + token[place:],
        token[:place] + token[place + 1 :],
    ):
        assert not verify_token(changed, hashed) or changed == token
    for longer in (token + "A", token + "\n", token + character, "A" + token, " " + token):
        assert not is_token(longer)


@given(token=ANYTHING, hashed=ANYTHING)
def test_verifying_takes_anything(token: Any, hashed: Any) -> None:
    good = mint_token(key=bytes(32))
    assert verify_token(token, hashed) is False
    assert verify_token(good.token, hashed) is False
    assert verify_token(token, good.hash) is False
    assert is_token(token) is False


@given(key=ANYTHING, context=st.binary())
def test_minting_says_what_is_wrong(key: Any, context: bytes) -> None:
    if key is None and not context:
        return
    try:
        mint_token(key=key, context=context)
    except CannotSign:
        return
    assert isinstance(key, bytes)
    assert len(key) >= 32


@given(data=st.binary())
def test_base64_there_and_back(data: bytes) -> None:
    text = b64url(data)
    assert unb64url(text) == data
    assert "=" not in text


@given(text=st.text(st.sampled_from("ABab01-_+/=\n é"), max_size=8))
def test_only_one_text_stands_for_each_bytes(text: str) -> None:
    try:
        data = unb64url(text)
    except ValueError:
        return
    assert b64url(data) == text


@given(ring=rings())
def test_a_ring_survives_its_json(ring: KeyRing) -> None:
    assert KeyRing.from_json(ring.to_json()) == ring


@given(text=st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr))
def test_no_text_is_a_ring_by_chance(text: str) -> None:
    with pytest.raises(CannotSign):
        KeyRing.from_json(text)


@given(ring=rings(), after=st.integers(0, 2000), overlap=st.integers(0, 2000))
def test_rotation_adds_one_key_and_keeps_what_lives(ring: KeyRing, after: int, overlap: int) -> None:
    now = NOW + after
    turned = ring.rotated(now=now, overlap_s=overlap)
    assert turned.current not in ring.keys
    assert turned.current.retires_at is None
    kept = {key.kid for key in turned.keys[1:]}
    living = {key.kid for key in ring.keys[1:] if key.retires_at is None or key.retires_at > now}
    assert kept == living | ({ring.current.kid} if overlap else set())
    assert [key.kid for key in turned.alive(now)] == [key.kid for key in turned.keys]
    assert ring.current.kid not in {key.kid for key in turned.alive(now + overlap)}


@given(ring=rings(), session=SESSIONS, generation=GENERATIONS, now=st.integers(NOW - 10, NOW + 1010))
def test_what_verifies_includes_what_signs(ring: KeyRing, session: str, generation: int, now: int) -> None:
    kid, key = ring.sign_with(session, generation=generation)
    keys = ring.url_keys(session, generation=generation, now=now)
    assert keys[kid] == key
    assert keys == ring.derived("url", session, generation=generation, now=now)
    assert set(keys) == {one.kid for one in ring.keys if one.retires_at is None or one.retires_at > now}
    tokens = [mint_token(key=one) for one in ring.derived("bearer", session, generation=generation, now=now).values()]
    secrets = {one.secret for one in ring.keys if one.kid in keys}
    assert len(set(tokens)) == len(secrets)
