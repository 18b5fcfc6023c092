"""The contract of stores: the journal of births, keys, answers, custody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from store_kit import NOW, a_birth, a_key, a_session, an_answer

from pulumi_atlas.errors import ConfigError, Conflict
from pulumi_atlas.runtime.store.contract import Store

pytestmark = pytest.mark.anyio


# -- births


async def test_a_birth_comes_back_as_it_was_noted(store: Store) -> None:
    whole = a_birth(session_id="s9", provider="mock", account="a", identity="i", state="held", pod_id="p")
    await store.note_birth(whole)
    assert list(await store.births()) == [whole]


async def test_a_birth_is_noted_or_replaced_alone_or_with_a_change(store: Store) -> None:
    await store.add(a_session(), [])
    await store.change("s1", 0, {}, [], [a_birth("1"), a_birth("2")])
    await store.change("s1", 1, {}, [], [a_birth("1", state="held", pod_id="p")])
    await store.note_birth(a_birth("2", state="gone"))
    assert list(await store.births()) == [a_birth("1", state="held", pod_id="p"), a_birth("2", state="gone")]


async def test_births_are_oldest_first_and_by_state(store: Store) -> None:
    await store.note_birth(a_birth("3", written_at=NOW + 1, state="dead"))
    await store.note_birth(a_birth("1", written_at=NOW))
    await store.note_birth(a_birth("2", written_at=NOW, state="held"))
    assert [one.birth[0] for one in await store.births()] == ["1", "2", "3"]
    assert [one.birth[0] for one in await store.births(["dead", "open"])] == ["1", "3"]
    assert not await store.births([])


# -- keys


async def test_keys_are_all_there_oldest_first_revoked_ones_too(store: Store) -> None:
    young, old = a_key("young", created_at=NOW + 1, scope="admin"), a_key("old")
    await store.add_key(young)
    await store.add_key(old)
    assert list(await store.keys()) == [old, young]
    assert await store.revoke_key("old", now=NOW + 5)
    assert list(await store.keys()) == [replace(old, revoked_at=NOW + 5), young]


async def test_a_key_is_revoked_once(store: Store) -> None:
    await store.add_key(a_key())
    assert await store.revoke_key("key1", now=NOW)
    assert not await store.revoke_key("key1", now=NOW + 1)
    assert not await store.revoke_key("nobody", now=NOW)
    assert [one.revoked_at for one in await store.keys()] == [NOW]


async def test_the_same_key_twice_is_a_conflict(store: Store) -> None:
    await store.add_key(a_key())
    with pytest.raises(Conflict):
        await store.add_key(a_key(hash="other"))
    with pytest.raises(Conflict):
        await store.add_key(replace(a_key("key2"), hash=a_key().hash))
    both = await asyncio.gather(*(store.add_key(a_key("key3")) for _ in range(2)), return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in both) == 1
    assert [one.id for one in await store.keys()] == ["key1", "key3"]


# -- answers


async def test_what_was_answered_is_known_by_caller_and_key(store: Store) -> None:
    await store.add(a_session(), [], an_answer())
    assert await store.answered("caller", "k") == an_answer()
    assert await store.answered("caller", "other") is None
    assert await store.answered("other", "k") is None


# -- custody


async def test_a_new_store_has_a_random_deployment_and_is_not_frozen(store: Store) -> None:
    custody = await store.custody()
    assert len(custody.deployment_id) >= 16
    assert (custody.name, custody.created_at, custody.alive_at, custody.frozen) == ("tests", NOW, None, "")


async def test_a_store_of_another_deployment_is_refused_and_free_again(make_store: Callable[[], Store]) -> None:
    first = make_store()
    await first.open(name="tests", now=NOW)
    await first.aclose()
    with pytest.raises(ConfigError, match="'tests', not to 'other'"):
        await make_store().open(name="other", now=NOW)
    again = make_store()
    await again.open(name="tests", now=NOW)
    await again.aclose()


async def test_confirming_what_is_not_frozen_changes_nothing(store: Store) -> None:
    before = await store.custody()
    assert await store.confirm(now=NOW + 1) == before
