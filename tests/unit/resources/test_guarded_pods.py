"""`Pod(auth=…)`: what is minted when, what the pod is told of it, and what a refresh sees when somebody changes that."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from atlas_session import sign_url, verify_token, verify_url
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.models.issued import GENERATED_ENV
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.resources.fresh import fresh_process
from pulumi_atlas.resources.pod import _PodProvider
from tests.properties._engine import Engine, Stored, cloud

POD: dict[str, Any] = {"provider": "mock", "command": ["serve"], "env": {"RUN": "7"}}
SCHEMES = ("bearer", "signed_url", "preshared")


@pytest.fixture
def world() -> Iterator[World]:
    with cloud() as one:
        yield one


def guarded(auth: str | None = "bearer", **more: Any) -> dict[str, Any]:
    return {**POD, **({"auth": auth} if auth else {}), **more}


def env_of(world: World, stored: Stored) -> dict[str, str]:
    spec = world.pods[stored.ident].spec
    assert spec is not None
    return spec.env


def retold(world: World, stored: Stored, change: Callable[[dict[str, str]], Mapping[str, str]]) -> None:
    """Somebody gives the pod another environment behind our back."""
    spec = world.pods[stored.ident].spec
    assert spec is not None
    world.change(stored.ident, env=dict(change(dict(spec.env))))


def issued(stored: Stored) -> dict[str, Any]:
    return {name: stored.outputs.get(name) for name in ("token", "signing_key", "signing_kid")}


def refreshed(stored: Stored) -> Stored:
    """As a later run sees it, which knows no listing of an earlier one."""
    with fresh_process():
        return Engine("pod").refresh(stored)


# ---- minted once


@pytest.mark.parametrize("auth", SCHEMES)
def test_the_pod_is_told_what_verifies_the_token_and_no_more(world: World, auth: str) -> None:
    stored = Engine("pod").made(guarded(auth))
    env, token = env_of(world, stored), stored.outputs["token"]
    assert verify_token(token, env["ATLAS_TOKEN_HASHES"])
    assert (env["RUN"], env["ATLAS_GENERATION"]) == ("7", "0")
    assert set(env) - {"RUN"} <= GENERATED_ENV
    holders = {name for name, value in env.items() if token in value}
    assert holders == ({"ATLAS_PRESHARED_KEY"} if auth == "preshared" else set())
    assert ("ATLAS_URL_KEYS" in env) == (auth == "signed_url")
    assert stored.outputs["env"] == {"RUN": "7"}


def test_a_url_signed_with_the_outputs_is_verified_with_the_environment(world: World) -> None:
    stored = Engine("pod").made(guarded("signed_url", auth_generation=3))
    env, out = env_of(world, stored), stored.outputs
    assert out["token"] != out["signing_key"]
    key = base64.urlsafe_b64decode(out["signing_key"] + "=")
    url = sign_url("https://h/x", key=key, kid=out["signing_kid"], expires_in_s=60, generation=3)
    kid, _, text = env["ATLAS_URL_KEYS"].partition(":")
    keys = {kid: base64.urlsafe_b64decode(text + "=")}
    assert verify_url(url, keys=keys, method="GET", generation=int(env["ATLAS_GENERATION"])).path == "/x"


def test_two_pods_share_nothing(world: World) -> None:
    engine = Engine("pod")
    first, second = (issued(engine.made(guarded("signed_url", name=name))) for name in ("a", "b"))
    assert not set(first.values()) & set(second.values())


def test_without_auth_there_is_nothing(world: World) -> None:
    stored = Engine("pod").made(POD)
    assert issued(stored) == {"token": None, "signing_key": None, "signing_kid": None}
    assert env_of(world, stored) == {"RUN": "7"}


# ---- kept, and minted anew


@pytest.mark.parametrize("auth", SCHEMES)
@pytest.mark.parametrize(
    "change", [{"env": {"RUN": "8"}}, {"trigger": 2}, {"desired_status": "stopped"}, {"timeouts": {"create_s": 9}}]
)
def test_a_change_of_anything_else_keeps_what_was_issued(world: World, auth: str, change: dict[str, Any]) -> None:
    engine = Engine("pod")
    first = engine.made(guarded(auth))
    told = {name: value for name, value in env_of(world, first).items() if name != "RUN"}
    raw = guarded(auth, **change)
    for stored in (second := engine.changed(first, raw), engine.refresh(second)):
        assert issued(stored) == issued(first)
        assert env_of(world, stored) == {**raw["env"], **told}
        assert engine.unchanged(stored, raw)


@pytest.mark.parametrize("auth", SCHEMES)
def test_another_generation_revokes_all(world: World, auth: str) -> None:
    engine = Engine("pod")
    first = engine.made(guarded(auth))
    raw = guarded(auth, auth_generation=1)
    second = engine.changed(first, raw)
    assert second.ident == first.ident
    assert world.pods[first.ident].raw["restarts"] == 1
    old, new = issued(first), issued(second)
    assert all(old[name] != new[name] for name in new if new[name] is not None)
    env = env_of(world, second)
    assert not verify_token(old["token"], env["ATLAS_TOKEN_HASHES"]) and verify_token(
        new["token"], env["ATLAS_TOKEN_HASHES"]
    )
    assert env["ATLAS_GENERATION"] == "1"
    assert engine.unchanged(second, raw)


def test_switching_mints_anew_and_removing_leaves_nothing(world: World) -> None:
    engine = Engine("pod")
    first = engine.made(guarded("bearer"))
    second = engine.changed(first, guarded("signed_url"))
    third = engine.changed(second, guarded("preshared"))
    assert len({one.outputs["token"] for one in (first, second, third)}) == 3
    assert third.outputs.get("signing_key") is None
    bare = engine.changed(third, guarded(None))
    assert not set(issued(bare).values()) - {None}
    assert env_of(world, bare) == {"RUN": "7"}
    again = engine.changed(bare, guarded("bearer"))
    assert again.outputs["token"] not in {one.outputs["token"] for one in (first, second, third)}


def test_a_generation_of_nothing_is_noted_and_asks_nothing(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(POD)
    engine.changed(stored, {**POD, "auth_generation": 4})
    assert world.pods[stored.ident].raw["restarts"] == 0


def test_an_update_whose_answer_was_lost_mints_anew(world: World) -> None:
    engine = Engine("pod")
    stored, wanted = engine.made(guarded()), guarded(auth_generation=1)
    world.fail_next("update_compute", after_effect=True)
    with pytest.raises(Exception, match="unknown_outcome"):
        engine.changed(stored, wanted)
    seen = engine.refresh(stored)
    assert seen.inputs["auth"] == "bearer (changed)"
    again = engine.changed(seen, wanted)
    assert verify_token(again.outputs["token"], env_of(world, again)["ATLAS_TOKEN_HASHES"])
    assert engine.unchanged(engine.refresh(again), wanted)


def test_what_an_import_does_not_know_is_minted_by_the_next_run_and_never_by_a_read(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made(guarded())
    for name in ("token", "signing_key", "signing_kid"):
        stored.outputs.pop(name, None)
    assert not engine.unchanged(stored, guarded())
    seen = engine.refresh(stored)
    assert seen.outputs.get("token") is None
    after = engine.changed(seen, guarded())
    assert verify_token(after.outputs["token"], env_of(world, after)["ATLAS_TOKEN_HASHES"])
    assert engine.unchanged(after, guarded())


# ---- drift


@pytest.mark.parametrize("auth", SCHEMES)
def test_three_refreshes_of_an_untouched_pod_show_nothing(world: World, auth: str) -> None:
    engine = Engine("pod")
    first = stored = engine.made(guarded(auth))
    for _ in range(3):
        assert engine.unchanged(stored, guarded(auth))
        stored = refreshed(stored)
        assert stored.outputs == first.outputs
        assert engine.same_inputs(stored, first)


TAMPERED: dict[str, Callable[[dict[str, str]], Mapping[str, str]]] = {
    "removed": lambda env: {name: value for name, value in env.items() if name not in GENERATED_ENV},
    "one removed": lambda env: {name: value for name, value in env.items() if name != "ATLAS_TOKEN_HASHES"},
    "changed": lambda env: {**env, "ATLAS_TOKEN_HASHES": "0" * 64},
    "one more": lambda env: {**env, "ATLAS_TOKEN_HASHES": env["ATLAS_TOKEN_HASHES"] + "," + "0" * 64},
    "another key": lambda env: {**env, "ATLAS_URL_KEYS": "theirs:" + "A" * 43},
    "a guard key": lambda env: {**env, "ATLAS_GUARD_KEY": "k"},
}


@pytest.mark.parametrize("how", TAMPERED)
@pytest.mark.parametrize("auth", SCHEMES)
def test_a_verifier_that_was_changed_is_drift_of_auth_and_is_put_back(world: World, auth: str, how: str) -> None:
    engine = Engine("pod")
    first = engine.made(guarded(auth))
    before = env_of(world, first)
    retold(world, first, TAMPERED[how])
    for _ in range(2):
        seen = refreshed(first)
        assert seen.inputs["auth"] == f"{auth} (changed)"
        assert seen.inputs["env"] == {"RUN": "7"}, "what was generated is no argument"
        assert issued(seen) == issued(first)
    assert not engine.unchanged(seen, guarded(auth))
    put_back = engine.changed(seen, guarded(auth))
    assert issued(put_back) == issued(first)
    assert env_of(world, put_back) == before
    assert engine.unchanged(refreshed(put_back), guarded(auth))


def test_a_verifier_that_is_right_again_is_no_drift_any_more(world: World) -> None:
    engine = Engine("pod")
    first = engine.made(guarded())
    before = env_of(world, first)
    retold(world, first, TAMPERED["removed"])
    seen = refreshed(first)
    retold(world, first, lambda env: before)
    assert engine.unchanged(refreshed(seen), guarded())


def test_drift_and_another_generation_at_once_mint_anew(world: World) -> None:
    engine = Engine("pod")
    first = engine.made(guarded())
    retold(world, first, TAMPERED["removed"])
    after = engine.changed(refreshed(first), guarded(auth_generation=1))
    assert after.outputs["token"] != first.outputs["token"]


def test_the_users_own_variable_is_drift_of_env(world: World) -> None:
    engine = Engine("pod")
    first = engine.made(guarded())
    retold(world, first, lambda env: {**env, "RUN": "9"})
    seen = refreshed(first)
    assert (seen.inputs["env"], seen.inputs["auth"]) == ({"RUN": "9"}, "bearer")


def test_a_verifier_in_an_unguarded_pod_is_drift_without_its_values(world: World) -> None:
    """A switch that failed half-way: the key that the pod was given must not stand in the state in clear."""
    engine = Engine("pod")
    first = engine.made(POD)
    retold(world, first, lambda env: {**env, "ATLAS_URL_KEYS": "k1:" + "s" * 43})
    for _ in range(2):
        seen = refreshed(first)
        assert seen.inputs["auth"] == "unknown (changed)"
        assert "s" * 43 not in repr((seen.inputs, seen.outputs))
    bare = engine.changed(seen, POD)
    assert env_of(world, bare) == {"RUN": "7"}
    assert engine.unchanged(refreshed(bare), POD)


def test_without_auth_these_names_are_the_users(world: World) -> None:
    raw = {**POD, "env": {"ATLAS_TOKEN_HASHES": "0" * 64}}
    engine = Engine("pod")
    stored = engine.made(raw)
    seen = refreshed(stored)
    assert engine.unchanged(seen, raw) and "auth" not in seen.inputs
    retold(world, stored, lambda env: {"ATLAS_TOKEN_HASHES": "1" * 64})
    assert refreshed(stored).inputs["env"] == {"ATLAS_TOKEN_HASHES": "1" * 64}


def test_a_pod_that_is_only_read_shows_neither_token_nor_env(world: World) -> None:
    stored = Engine("pod").made(guarded("signed_url"))
    read = _PodProvider().read(stored.ident, {"provider": "mock"})
    assert read.id == stored.ident
    assert not {"token", "signing_key", "signing_kid", "env", "auth"} & {*read.outs, *read.inputs}


# ---- what may be printed


def test_an_error_after_minting_holds_neither_token_nor_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    real = MockProvider.create_compute

    async def create(self: MockProvider, spec: ComputeSpec, tag: Any) -> Any:
        told.extend(spec.env.values())
        await real(self, spec, tag)
        raise ProviderFailure(" ".join(spec.env.values()), provider="mock")

    monkeypatch.setattr(MockProvider, "create_compute", create)
    for auth in ("preshared", "signed_url"):
        told.clear()
        with pytest.raises(Exception, match=r"\[secret\]") as caught:
            Engine("pod").made(guarded(auth))
        parts = [part for value in told for part in value.split(":")]
        secrets = [part for part in parts if part.startswith("atlas_") or len(part) == 43]
        assert secrets and not any(secret in str(caught.value) for secret in secrets)


def test_an_error_of_a_later_run_holds_neither_token_nor_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("pod")
    stored = engine.made(guarded("signed_url"))
    secret = stored.outputs["token"] + " " + stored.outputs["signing_key"]

    async def refuse(self: MockProvider, *args: Any, **kwargs: Any) -> Any:
        raise ProviderFailure(secret, provider="mock")

    monkeypatch.setattr(MockProvider, "get_compute", refuse)
    monkeypatch.setattr(MockProvider, "list_compute", refuse)
    calls = (
        lambda: engine.changed(stored, guarded("signed_url", trigger=3)),
        lambda: engine.refresh(stored),
        lambda: engine.provider.delete(stored.ident, dict(stored.outputs)),
    )
    for call in calls:
        with pytest.raises(Exception, match=r"\[secret\]") as caught:
            call()
        assert not any(part in str(caught.value) for part in secret.split())


def test_the_intent_of_a_guarded_pod_holds_no_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi_atlas.resources import _process

    stored = Engine("pod").made(guarded("preshared"))
    (note,) = _process.core().book.folder.glob("*.json")
    assert stored.outputs["token"] not in note.read_text()


# ---- refused


def reasons(raw: Mapping[str, Any]) -> list[str]:
    given = {"name": "p", "owner": "stack:s:atlas:Pod::p", "__provider": "P", **raw}
    return [failure.reason for failure in _PodProvider().check({}, given).failures]


@pytest.mark.parametrize("name", sorted(GENERATED_ENV))
def test_a_generated_name_is_refused_with_auth_and_its_value_is_not_shown(world: World, name: str) -> None:
    raw = guarded(env={name: "planted-value", "ATLAS_ORIGINS": "*", "ATLAS_PUBLIC_PATHS": "/healthz"})
    (reason,) = reasons(raw)
    assert reason.startswith(f"env.{name}: ") and "planted-value" not in reason
    assert reasons({**raw, "auth": None}) == []


def test_a_generated_name_is_refused_when_auth_was_not_known_at_preview(world: World) -> None:
    import pulumi

    raw = guarded(env={"ATLAS_TOKEN_HASHES": "0" * 64})
    assert reasons({**raw, "auth": pulumi.output.Unknown()}) == []
    engine = Engine("pod")
    checked = engine.check(None, guarded(None, env=raw["env"]))
    with pytest.raises(Exception, match=r"env\.ATLAS_TOKEN_HASHES"):
        engine.create({**checked, "auth": "bearer"})
    assert not world.pods


@pytest.mark.parametrize("provider", ["mock", "local"])
def test_an_option_never_replaces_the_environment(world: World, provider: str) -> None:
    given = {"provider": provider, "auth": "bearer", "provider_options": {"env": {"A": "b"}}}
    (reason,) = reasons({**POD, **given})
    assert reason.startswith("provider_options.env: would replace the argument env=")


def test_a_provider_without_an_environment_refuses_auth(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(MockProvider):
        accepts = MockProvider.accepts - {"env"}

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: Bare if name == "mock" else load(name))
    (reason,) = reasons({**guarded(), "env": None})
    assert reason.startswith("auth: not possible with provider 'mock'") and "verifies" in reason
