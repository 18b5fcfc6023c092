"""Touch, extend, rotate, signed URLs, verifiers, waiting: what may be done with a session that is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core_kit import Stage, play

from atlas_session import verify_path, verify_url
from atlas_session.errors import AccessDenied
from atlas_session.tokens import verify_token
from pulumi_atlas.errors import ConfigError, Conflict, InvalidSpec, NotFound
from pulumi_atlas.runtime.access import KeyRingFile, SealBroken, Secrets, guard_again, seal, unseal
from pulumi_atlas.runtime.ledger import SessionGone
from pulumi_atlas.runtime.store.contract import StoreUnavailable


def test_a_touch_moves_the_deadline_and_needs_no_store(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100)
        await stage.clock.advance(50)
        stage.store.fail()
        live = await stage.companion.touch(opened.session.id, "http", count=5)
        assert (live.source, live.touches) == ("http", 5)
        stage.store.fail("")
        await stage.clock.advance(70)
        session = await stage.get(opened.session.id)
        assert (session.state, session.touches, session.active_source) == ("ready", 5, "http")
        await stage.clock.advance(31)
        assert (await stage.get(opened.session.id)).state == "terminated"

    play(stage, act)


@pytest.mark.parametrize("source", ["unheard", "gpu"])
def test_a_source_that_is_not_switched_on_is_no_activity(stage: Stage, source: str) -> None:
    stage.options["touch_sources"] = ["http"]

    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100)
        before = (await stage.get(opened.session.id)).active_at
        await stage.clock.advance(50)
        await stage.companion.touch(opened.session.id, source)
        session = await stage.get(opened.session.id)
        assert (session.active_at, session.touches) == (before, 0)

    play(stage, act)


def test_an_extension_keeps_it_without_activity(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100)
        session = await stage.companion.extend(opened.session.id, 1000, actor="session", bounded=True)
        assert session.keep_until == pytest.approx(stage.clock.now() + 1000)
        assert stage.companion.show(session)["remaining_s"] == pytest.approx(1000)
        assert ("extended", "session", "usable") in await stage.events()
        await stage.restart()
        await stage.clock.advance(990)
        assert (await stage.get(session.id)).state == "ready"
        await stage.clock.advance(20)
        assert (await stage.get(session.id)).state == "terminated"

    play(stage, act)


def test_an_extension_never_makes_it_shorter_and_never_passes_the_lifetime(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=100, max_lifetime_s=1000)
        one = await stage.companion.extend(opened.session.id, 500, actor="a", bounded=True)
        two = await stage.companion.extend(opened.session.id, 10, actor="a", bounded=True)
        assert (one.version, one.keep_until) == (two.version, two.keep_until)
        three = await stage.companion.extend(opened.session.id, 5000, actor="a", bounded=True)
        assert three.keep_until == three.expires_at
        with pytest.raises(InvalidSpec):
            await stage.companion.extend(opened.session.id, 4 * 3600 + 1, actor="a", bounded=True)
        await stage.companion.extend(opened.session.id, 4 * 3600 + 1, actor="a", bounded=False)

    play(stage, act)


def test_a_lifetime_may_be_prolonged_within_the_limit(stage: Stage) -> None:
    stage.options["limits"] = {"max_lifetime_s": 1000}

    async def act() -> None:
        opened = await stage.ready(max_lifetime_s=500)
        session = await stage.companion.extend_lifetime(opened.session.id, 500, actor="a")
        assert (session.max_lifetime_s, session.expires_at) == (1000, session.created_at + 1000)
        with pytest.raises(InvalidSpec):
            await stage.companion.extend_lifetime(opened.session.id, 1, actor="a")
        await stage.companion.close(opened.session.id, actor="a")
        with pytest.raises(SessionGone):
            await stage.companion.extend_lifetime(opened.session.id, 1, actor="a")

    play(stage, act)


def test_one_without_an_end_has_none_to_move(stage: Stage) -> None:
    stage.options["max_lifetime_s"] = None

    async def act() -> None:
        opened = await stage.ready()
        with pytest.raises(Conflict):
            await stage.companion.extend_lifetime(opened.session.id, 1, actor="a")

    play(stage, act)


def test_rotating_voids_what_was_handed_out(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        rotated = await stage.companion.rotate(opened.session.id, actor="a")
        session = await stage.get(opened.session.id)
        assert session.generation == rotated.session.generation == 1
        assert verify_token(rotated.token, session.token_hash)
        assert verify_token(rotated.touch_token, session.touch_hash)
        assert not verify_token(opened.token, session.token_hash)
        assert not verify_token(opened.touch_token, stage.companion.ledger[session.id].touch_hash)
        assert ("rotated", "a", "usable") in await stage.events()
        await stage.companion.close(opened.session.id, actor="a")
        with pytest.raises(SessionGone):
            await stage.companion.rotate(opened.session.id, actor="a")

    play(stage, act)


def test_the_guards_key_outlives_rotations_of_both_kinds(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        session = await stage.get(opened.session.id)
        first = guard_again(stage.companion.keyring.ring, session, stage.clock.now())
        stage.companion.keyring.rotate(now=stage.clock.now())
        await stage.companion.rotate(session.id, actor="a")
        session = await stage.get(session.id)
        assert verify_token(first, session.guard_hash)
        assert guard_again(stage.companion.keyring.ring, session, stage.clock.now()) == first
        assert (await stage.companion.rotate(session.id, actor="a")).token is not None

    play(stage, act)


def keys_of(stage: Stage, session: Any) -> dict[str, bytes]:
    import base64

    shown = stage.companion.verifier(session)["url_keys"]
    return {kid: base64.urlsafe_b64decode(key + "==") for kid, key in shown.items()}


def test_signed_urls_verify_with_what_the_guard_is_told_until_rotated(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(auth="signed_url")
        session = await stage.get(opened.session.id)
        url = stage.companion.sign_url(session, path="/video.mp4", expires_in_s=60)
        assert url.startswith(session.urls["8888"] + "/video.mp4?atlas-access=")
        grant = verify_url(
            url, keys=keys_of(stage, session), method="GET", generation=session.generation, now=stage.clock.now()
        )
        assert grant.path == "/video.mp4"
        hls = stage.companion.sign_url(session, url=session.urls["8888"] + "/hls/a.m3u8", expires_in_s=60, form="path")
        verify_path(hls, keys=keys_of(stage, session), method="GET", generation=0, now=stage.clock.now())
        rotated = (await stage.companion.rotate(session.id, actor="a")).session
        with pytest.raises(AccessDenied):
            verify_url(
                url,
                keys=keys_of(stage, session) | keys_of(stage, rotated),
                method="GET",
                generation=rotated.generation,
                now=stage.clock.now(),
            )

    play(stage, act)


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"port": "1"}, "port"),
        ({"url": "https://elsewhere.example/x"}, "url"),
        ({"path": "x"}, "path"),
        ({"path": "/x", "expires_in_s": 0}, "path"),
        ({"path": "/x", "expires_in_s": 10**7}, "path"),
        ({"path": "/x", "form": "path", "expires_in_s": 60, "method": "POST"}, "path"),
        ({"path": "/x", "form": "path", "expires_in_s": 901}, "path"),
        ({"path": "/x", "prefix": True}, "path"),
        ({"path": "/a/../b"}, "path"),
    ],
)
def test_a_wish_that_cannot_be_signed_is_refused(stage: Stage, wish: dict[str, Any], path: str) -> None:
    async def act() -> None:
        opened = await stage.ready(auth="signed_url")
        with pytest.raises(InvalidSpec) as caught:
            stage.companion.sign_url(await stage.get(opened.session.id), **wish)
        assert [one.path for one in caught.value.failures] == [path]

    play(stage, act)


def test_signed_urls_are_for_sessions_that_use_them_and_are_ready(stage: Stage) -> None:
    async def act() -> None:
        bearer = await stage.ready()
        with pytest.raises(Conflict):
            stage.companion.sign_url(await stage.get(bearer.session.id))
        assert stage.companion.verifier(await stage.get(bearer.session.id))["url_keys"] == {}
        signed = await stage.open(auth="signed_url")
        with pytest.raises(Conflict):
            stage.companion.sign_url(signed.session)

    play(stage, act)


def test_a_gone_sessions_guard_lets_nobody_in(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(auth="none")
        verifier = stage.companion.verifier(await stage.get(opened.session.id))
        assert (verifier["token_hashes"], verifier["revoked"]) == ([], False)
        session = await stage.companion.close(opened.session.id, actor="a")
        assert stage.companion.verifier(session)["revoked"] is True

    play(stage, act)


def test_waiting_ends_when_it_is_ready_or_gone_or_the_time_is_over(stage: Stage) -> None:
    stage.world.configure(provision_s=20)

    async def act() -> None:
        opened = await stage.open()
        waits = [
            asyncio.ensure_future(stage.companion.wait(opened.session.id, timeout_s=seconds))
            for seconds in (5, 100, 100)
        ]
        await stage.clock.advance(6)
        assert [one.done() for one in waits] == [True, False, False]
        assert waits[0].result().state == "provisioning"
        await stage.clock.advance(20)
        assert [one.result().state for one in waits[1:]] == ["ready", "ready"]
        second = await stage.open()
        wait = asyncio.ensure_future(stage.companion.wait(second.session.id, timeout_s=100))
        await stage.clock.advance(1)
        await stage.companion.close(second.session.id, actor="a")
        await stage.clock.settle()
        assert wait.result().is_gone
        with pytest.raises(NotFound):
            await stage.companion.wait("s-unknown", timeout_s=1)

    play(stage, act)


def test_a_page_shows_what_is_fresh(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        await stage.ready(owner="bob")
        await stage.clock.advance(10)
        await stage.companion.touch(opened.session.id, "http")
        (one,) = (await stage.companion.page(owner="ann")).sessions
        assert one.touches == 1
        first = await stage.companion.page(limit=1)
        second = await stage.companion.page(limit=1, cursor=first.next_cursor)
        assert second.sessions[0].owner == "bob"
        assert second.next_cursor is None

    play(stage, act)


def test_a_verb_that_cannot_be_written_did_not_happen(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready()
        stage.store.fail()
        companion, ident = stage.companion, opened.session.id
        for verb in (companion.close, companion.pause, companion.rotate):
            with pytest.raises(StoreUnavailable):
                await verb(ident, actor="a")
        stage.store.fail("")
        session = await stage.get(ident)
        assert (session.state, session.generation) == ("ready", 0)

    play(stage, act)


# -- keys


def test_the_ring_is_made_once_and_is_nobody_elses(stage: Stage) -> None:
    path = stage.folder / "x.db"
    first = KeyRingFile.beside(path)
    assert first.fresh
    assert first.path.stat().st_mode & 0o777 == 0o600
    again = KeyRingFile.beside(path)
    assert (again.ring, again.fresh) == (first.ring, False)
    again.rotate(now=1000.0)
    third = KeyRingFile.beside(path)
    assert third.ring == again.ring
    assert len(third.ring.keys) == 2
    assert third.path.stat().st_mode & 0o777 == 0o600


def test_a_ring_that_others_can_read_or_that_is_none_is_refused(stage: Stage) -> None:
    path = stage.folder / "x.db"
    file = KeyRingFile.beside(path).path
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others"):
        KeyRingFile.beside(path)
    file.chmod(0o600)
    file.write_text("{}")
    with pytest.raises(ConfigError):
        KeyRingFile.beside(path)


def test_what_is_sealed_opens_with_any_key_that_has_not_retired(stage: Stage) -> None:
    ring = KeyRingFile.beside(stage.folder / "x.db").ring
    sealed = seal(ring, Secrets({"A": "hunter2"}, {"x": 1}))
    assert b"hunter2" not in sealed
    rotated = ring.rotated(now=1000.0, overlap_s=60)
    assert unseal(rotated, sealed, 1059.0) == Secrets({"A": "hunter2"}, {"x": 1})
    with pytest.raises(SealBroken):
        unseal(rotated, sealed, 1061.0)
