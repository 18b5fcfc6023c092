"""Opening a session: everything is checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from core_kit import PUBLIC, Stage, play

from atlas_session.tokens import verify_token
from pulumi_atlas.errors import Conflict, Forbidden, InsufficientFunds, InvalidSpec, RateLimited
from pulumi_atlas.models.session import SessionRequest
from pulumi_atlas.runtime.store.contract import StoreUnavailable


def failures(caught: pytest.ExceptionInfo[InvalidSpec]) -> dict[str, str]:
    return {one.path: f"{one.message} {one.hint}" for one in caught.value.failures}


def test_an_opened_session_is_written_and_shown_and_its_tokens_verify(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.open(labels={"team": "a"}, idle_ttl_s=60)
        session = await stage.get(opened.session.id)
        assert session.state == "requested"
        assert (session.owner, session.labels, session.idle_ttl_s) == ("ann", {"team": "a"}, 60)
        assert verify_token(opened.token, session.token_hash)
        assert verify_token(opened.touch_token, session.touch_hash)
        assert len({opened.token, opened.touch_token}) == 2
        assert session.id[0] == "s"
        assert len(session.id) == 23
        assert (await stage.events())[0] == ("requested", "key:k1", "opened")
        assert stage.companion.show(session)["status"] == "requested"

    play(stage, act)


def test_neither_the_row_nor_the_events_hold_a_secret(stage: Stage) -> None:
    async def act() -> None:
        opened = await stage.ready(spec={"env": {"PASSWORD": "hunter2"}, "provider_options": {"exit_code": 77}})
        row, events = await stage.get(opened.session.id), await stage.companion.store.events(after=0)
        text = repr(stage.store._tables) + repr(row) + repr(row.spec) + repr(events) + repr(opened)
        for secret in ("hunter2", opened.token, opened.touch_token):
            assert str(secret) not in text
        assert row.sealed_env is None
        assert "77" not in repr(row.spec)

    play(stage, act)


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({}, "template", "required"),
        ({"template": "gpu", "spec": {}}, "spec", "together"),
        ({"template": "gpuu"}, "template", "did you mean 'gpu'"),
        ({"spec": {"provider": "mok"}}, "spec.provider", "did you mean 'mock'"),
        ({"spec": {"provider": "mock", "prts": [1]}}, "spec.prts", "did you mean 'ports'"),
        ({"spec": {"provider": "mock", "gpu": ["h10"]}}, "spec.gpu[0]", "did you mean"),
        ({"spec": {"provider": "mock", "env": {"ATLAS_GUARD_KEY": "x"}}}, "spec.env.ATLAS_GUARD_KEY", "companion"),
        ({"spec": {"provider": "mock", "provider_options": {"x": 1}}}, "spec.provider_options.x", "no such option"),
        ({"spec": {"provider": "mock"}, "idle_ttl_s": 7200}, "idle_ttl_s", "3600"),
        ({"spec": {"provider": "mock"}, "max_lifetime_s": 90_000}, "max_lifetime_s", "86400"),
        ({"spec": {"provider": "mock"}, "budget": 11}, "budget", "10"),
        ({"spec": {"provider": "mock", "ports": [80], "ready": {"port": 81}}}, "spec.ready.port", "ports"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_path(stage: Stage, body: dict[str, Any], path: str, words: str) -> None:
    stage.options |= {
        "templates": {"gpu": {"spec": {"provider": "mock"}}},
        "limits": {"max_idle_ttl_s": 3600, "max_lifetime_s": 86_400, "max_budget": 10},
    }

    async def act() -> None:
        with pytest.raises(InvalidSpec) as caught:
            await stage.companion.open(SessionRequest(**body), actor="key:k1")
        assert words in failures(caught)[path]
        assert not (await stage.companion.page()).sessions

    play(stage, act)


def test_every_failure_is_said_at_once(stage: Stage) -> None:
    stage.options["limits"] = {"max_idle_ttl_s": 60}

    async def act() -> None:
        with pytest.raises(InvalidSpec) as caught:
            await stage.open(spec={"provider": "mok", "prts": 1, "env": {"ATLAS_SESSION_ID": "x"}}, idle_ttl_s=61)
        assert set(failures(caught)) == {"idle_ttl_s", "spec.provider", "spec.prts", "spec.env.ATLAS_SESSION_ID"}

    play(stage, act)


@pytest.mark.parametrize(
    "public", [None, "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]/x", "http://0.0.0.0:1"]
)
def test_pods_elsewhere_that_could_not_reach_the_companion_are_refused(stage: Stage, public: str | None) -> None:
    stage.options["public_url"] = public

    async def act() -> None:
        with pytest.raises(InvalidSpec) as caught:
            await stage.open()
        assert "public_url" in failures(caught)["spec.provider"]

    play(stage, act)


def test_a_template_gives_what_the_request_leaves_open(stage: Stage) -> None:
    stage.options["templates"] = {
        "gpu": {
            "spec": {"provider": "mock", "ports": [8888], "env": {"A": "1"}},
            "env_from": ["HF_HOME"],
            "idle_ttl_s": 300,
            "auth": "signed_url",
            "ready_timeout_s": 77,
        }
    }
    stage.environ["HF_HOME"] = "/models"

    async def act() -> None:
        request = SessionRequest(template="gpu", max_lifetime_s=1000)
        opened = await stage.companion.open(request, actor="key:k1")
        session = await stage.advance_until(opened.session.id, "ready")
        assert (session.template, session.idle_ttl_s, session.max_lifetime_s) == ("gpu", 300, 1000)
        assert (session.auth, session.ready_timeout_s, session.on_idle) == ("signed_url", 77, "terminate")
        assert session.expires_at == session.created_at + 1000
        (pod,) = stage.pods().values()
        assert pod.spec is not None
        env = pod.spec.env
        assert (env["A"], env["HF_HOME"]) == ("1", "/models")

    play(stage, act)


def test_a_variable_that_a_template_hands_on_must_be_there(stage: Stage) -> None:
    stage.options["templates"] = {"gpu": {"spec": {"provider": "mock"}, "env_from": ["HF_TOKEN"]}}

    async def act() -> None:
        with pytest.raises(InvalidSpec) as caught:
            await stage.companion.open(SessionRequest(template="gpu"), actor="key:k1")
        assert "HF_TOKEN" in failures(caught)["template.gpu.env_from"]

    play(stage, act)


def test_backends_open_templates_only_and_only_theirs(stage: Stage) -> None:
    stage.options["templates"] = {
        "far": {"spec": {"provider": "mock"}},
        "near": {"spec": {"provider": "local"}},
        "offered": {"spec": {"provider": "local"}, "for_backends": True},
        "kept": {"spec": {"provider": "mock"}, "for_backends": False},
    }

    async def act() -> None:
        may = stage.companion.may_open
        may(SessionRequest(template="far"), "backend")
        may(SessionRequest(template="offered"), "backend")
        may(SessionRequest(template="unknown"), "backend")
        may(SessionRequest(spec={}), "admin")
        for request, scope in (
            (SessionRequest(template="near"), "backend"),
            (SessionRequest(template="kept"), "backend"),
            (SessionRequest(spec={"provider": "mock"}), "backend"),
            (SessionRequest(template="far"), "read"),
            (SessionRequest(template="far"), "metrics"),
        ):
            with pytest.raises(Forbidden):
                may(request, scope)  # type: ignore[arg-type]
        names = [one["name"] for one in stage.companion.templates(scope="backend")]
        assert names == ["far", "offered"]
        assert len(stage.companion.templates(scope="read")) == 4

    play(stage, act)


def test_so_many_sessions_and_no_more(stage: Stage) -> None:
    stage.options["limits"] = {"sessions_per_owner": 2, "sessions": 3}

    async def act() -> None:
        first = await stage.open()
        await stage.open()
        with pytest.raises(RateLimited) as caught:
            await stage.open()
        assert caught.value.retry_after
        await stage.open(owner="bob")
        with pytest.raises(RateLimited):
            await stage.open(owner="eve")
        await stage.companion.close(first.session.id, actor="key:k1")
        await stage.open()

    play(stage, act)


def test_sessions_that_are_opened_at_the_same_time_are_counted_too(stage: Stage) -> None:
    import asyncio

    stage.options["limits"] = {"sessions_per_owner": 3, "owner_budget": 100}

    async def act() -> None:
        stage.companion.store.spent = slow_then(stage.companion.store.spent)  # type: ignore[method-assign]
        stage.companion.store.add = slow_then(stage.companion.store.add)  # type: ignore[method-assign]
        results = await asyncio.gather(*(stage.open() for _ in range(10)), return_exceptions=True)
        assert sum(isinstance(one, RateLimited) for one in results) == 7

    def slow_then(call: Any) -> Any:
        async def slow(*args: Any, **kwargs: Any) -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            return await call(*args, **kwargs)

        return slow

    play(stage, act)


def test_an_owner_whose_budget_is_spent_opens_nothing(stage: Stage) -> None:
    stage.options["limits"] = {"owner_budget": 0.08}

    async def act() -> None:
        opened = await stage.ready(idle_ttl_s=86_000)
        await stage.clock.advance(1800)
        await stage.open(owner="bob")
        await stage.companion.close(opened.session.id, actor="key:k1")
        await stage.advance_until(opened.session.id, "terminated")
        second = await stage.ready(idle_ttl_s=86_000)
        await stage.clock.advance(1850)
        with pytest.raises(InsufficientFunds):
            await stage.open()
        assert (await stage.get(second.session.id)).cause == "owner_budget"

    play(stage, act)


def test_the_same_key_and_body_give_the_same_answer(stage: Stage) -> None:
    async def act() -> None:
        import asyncio

        request = SessionRequest(spec={"provider": "mock"})
        one = stage.companion.open
        first, second = await asyncio.gather(
            one(request, actor="a", idempotency=("k1", "x", "hash")),
            one(request, actor="a", idempotency=("k1", "x", "hash")),
        )
        assert (first.session.id, first.token, first.touch_token) == (
            second.session.id,
            second.token,
            second.touch_token,
        )
        assert [first.replayed, second.replayed] == [False, True]
        await stage.restart()
        third = await stage.companion.open(request, actor="a", idempotency=("k1", "x", "hash"))
        assert (third.token, third.replayed) == (first.token, True)
        other = await stage.companion.open(request, actor="a", idempotency=("k2", "x", "other"))
        assert other.session.id != first.session.id
        with pytest.raises(Conflict):
            await stage.companion.open(request, actor="a", idempotency=("k1", "x", "other"))

    play(stage, act)


def test_the_same_answer_after_the_master_key_was_rotated(stage: Stage) -> None:
    async def act() -> None:
        request = SessionRequest(spec={"provider": "mock"})
        first = await stage.companion.open(request, actor="a", idempotency=("k1", "x", "hash"))
        stage.companion.keyring.rotate(now=stage.clock.now())
        again = await stage.companion.open(request, actor="a", idempotency=("k1", "x", "hash"))
        assert again.token == first.token
        await stage.restart()
        again = await stage.companion.open(request, actor="a", idempotency=("k1", "x", "hash"))
        assert again.token == first.token
        late = await stage.companion.open(request, actor="a", idempotency=("k1", "y", "hash"))
        assert late.token != first.token
        stage.companion.keyring.rotate(now=stage.clock.now(), overlap_s=0)
        await stage.clock.advance(1)
        with pytest.raises(Conflict, match="retired"):
            await stage.companion.open(request, actor="a", idempotency=("k1", "y", "hash"))

    play(stage, act)


def test_nothing_is_rented_when_the_store_takes_nothing(stage: Stage) -> None:
    async def act() -> None:
        stage.store.fail()
        with pytest.raises(StoreUnavailable):
            await stage.open()
        stage.store.fail("")
        await stage.clock.advance(60)
        assert stage.calls("create_compute") == 0
        assert not stage.companion.ledger.live

    play(stage, act)


def test_what_the_pod_is_told(stage: Stage) -> None:
    stage.options |= {"origins": ["https://app.example"]}

    async def act() -> None:
        for auth, extra in (
            ("bearer", {"ATLAS_TOKEN_HASHES"}),
            ("signed_url", {"ATLAS_TOKEN_HASHES", "ATLAS_URL_KEYS"}),
            ("none", set()),
        ):
            opened = await stage.ready(auth=auth)
            session = await stage.get(opened.session.id)
            spec = stage.world.pods[session.pod_id or ""].spec
            assert spec is not None
            common = {"ATLAS_SESSION_ID", "ATLAS_GENERATION", "ATLAS_COMPANION_URL", "ATLAS_GUARD_KEY", "ATLAS_ORIGINS"}
            assert set(spec.env) == common | extra
            assert spec.env["ATLAS_COMPANION_URL"] == PUBLIC
            assert spec.env["ATLAS_SESSION_ID"] == session.id
            assert verify_token(spec.env["ATLAS_GUARD_KEY"], session.guard_hash)
            assert opened.token is None or opened.token not in repr(spec)
            assert spec.env.get("ATLAS_TOKEN_HASHES") == session.token_hash

    play(stage, act)
