"""Which provider and which key: the first place that says something counts, and an empty text says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas import config
from pulumi_atlas.access import Access
from pulumi_atlas.config import Profile, Settings
from pulumi_atlas.errors import ConfigError, Unauthorized
from pulumi_atlas.providers import contract

BARE = Settings(state_dir=Path("/state"))


def resolve(settings: Settings = BARE, environ: Mapping[str, str] | None = None, **given: Any) -> Access:
    given.setdefault("key_variable", "RUNPOD_API_KEY")
    return config.resolve_access("runpod", settings=settings, environ=environ or {}, **given)


def profiles(**accounts: Profile) -> Settings:
    return Settings(state_dir=Path("/state"), accounts=accounts)


def test_the_provider_comes_from_the_call_then_stack_then_file_then_environment() -> None:
    settings = Settings(state_dir=Path("/s"), provider="fly")
    environ = {"ATLAS_PROVIDER": "vast"}
    assert config.choose_provider("local", "mock", settings, environ) == "local"
    assert config.choose_provider(None, "mock", settings, environ) == "mock"
    assert config.choose_provider(None, None, settings, environ) == "fly"
    assert config.choose_provider(None, None, BARE, environ) == "vast"


def test_an_empty_provider_counts_as_missing() -> None:
    assert config.choose_provider("", " ", Settings(Path("/s"), provider=""), {"ATLAS_PROVIDER": "vast"}) == "vast"


def test_no_provider_is_an_error_that_names_the_ways_out() -> None:
    with pytest.raises(ConfigError) as caught:
        config.choose_provider(None, "", BARE, {"ATLAS_PROVIDER": ""})
    for way in ("provider=", "pulumi config set atlas:provider", "atlas.yaml", "ATLAS_PROVIDER"):
        assert way in caught.value.hint


def test_a_named_account_tells_its_provider() -> None:
    settings = profiles(a=Profile("vast"))
    assert config.choose_provider(None, "mock", settings, {}, account="a") == "vast"
    assert config.choose_provider("fly", "mock", settings, {}, account="a") == "fly"


def test_the_key_comes_from_the_first_place_that_says_one(tmp_path: Path) -> None:
    settings = Settings(Path("/s"), providers={"runpod": Profile("runpod", api_key_env="MINE")})
    environ = {"MINE": "from-section", "RUNPOD_API_KEY": "from-env"}
    stack = {"atlas:runpodApiKey": "from-stack"}
    ways = [
        (resolve(settings, environ, stack_config=stack, api_key="from-call"), "from-call", "the argument api_key"),
        (resolve(settings, environ, stack_config=stack), "from-stack", "the stack secret atlas:runpodApiKey"),
        (
            resolve(settings, environ),
            "from-section",
            "the environment variable MINE (providers.runpod in atlas.yaml)",
        ),
        (resolve(BARE, environ), "from-env", "the environment variable RUNPOD_API_KEY"),
    ]
    for access, key, source in ways:
        assert (access.key, access.key_source) == (key, source)
        assert key not in repr(access)


def test_an_empty_key_counts_as_missing_in_every_place() -> None:
    settings = Settings(Path("/s"), providers={"runpod": Profile("runpod", api_key_env="MINE")})
    environ = {"MINE": "", "RUNPOD_API_KEY": " \n"}
    with pytest.raises(Unauthorized):
        resolve(settings, environ, api_key="", stack_config={"atlas:runpodApiKey": ""})
    access = resolve(settings, {**environ, "RUNPOD_API_KEY": " good\n"}, api_key=" ")
    assert access.key == "good"


def test_a_missing_key_is_an_error_that_names_the_ways_out() -> None:
    with pytest.raises(Unauthorized) as caught:
        resolve()
    for way in ("--secret atlas:runpodApiKey", "RUNPOD_API_KEY", "atlas.yaml", "account="):
        assert way in caught.value.hint
    assert caught.value.provider == "runpod"


def test_the_environment_is_read_anew_by_each_call() -> None:
    environ = {"RUNPOD_API_KEY": "one"}
    assert resolve(environ=environ).key == "one"
    environ["RUNPOD_API_KEY"] = "two"
    assert resolve(environ=environ).key == "two"


@pytest.mark.parametrize(
    ("provider", "name"),
    [("runpod", "runpodApiKey"), ("fly", "flyApiKey"), ("lambda_labs", "lambdaLabsApiKey"), ("vast", "vastApiKey")],
)
def test_the_stack_secret_of_each_provider(provider: str, name: str) -> None:
    assert config.stack_key(provider) == f"atlas:{name}"
    access = config.resolve_access(
        provider, key_variable="X", stack_config={f"atlas:{name}": "k"}, settings=BARE, environ={}
    )
    assert access.key == "k"


def test_a_named_account_uses_its_own_key_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    settings = profiles(
        by_env=Profile("runpod", api_key_env="TEAM_A"),
        by_file=Profile("runpod", api_key_file=tmp_path / "key"),
        by_text=Profile("runpod", api_key="inline"),
    )
    environ = {"TEAM_A": "from-env", "RUNPOD_API_KEY": "default"}
    stack = {"atlas:runpodApiKey": "from-stack"}
    for account, key in {"by_env": "from-env", "by_file": "from-file", "by_text": "inline"}.items():
        access = resolve(settings, environ, account=account, stack_config=stack)
        assert (access.key, access.account) == (key, account)
        assert account in access.key_source


def test_a_named_account_whose_key_is_missing_never_falls_back_to_another(tmp_path: Path) -> None:
    settings = profiles(
        a=Profile("runpod", api_key_env="TEAM_A"), b=Profile("runpod", api_key_file=tmp_path / "nothing")
    )
    environ = {"TEAM_A": "", "RUNPOD_API_KEY": "default"}
    with pytest.raises(Unauthorized, match="TEAM_A"):
        resolve(settings, environ, account="a")
    with pytest.raises(Unauthorized, match="nothing"):
        resolve(settings, environ, account="b", stack_config={"atlas:runpodApiKey": "k"})


def test_an_account_without_a_key_of_its_own_uses_the_default_one() -> None:
    settings = profiles(a=Profile("runpod", base_url="https://example.org"))
    access = resolve(settings, {"RUNPOD_API_KEY": "default"}, account="a")
    assert (access.key, access.base_url) == ("default", "https://example.org")


def test_an_unknown_account_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="there is no account 'team-b'") as caught:
        resolve(Settings(Path("/s"), accounts={"team-a": Profile("runpod")}), account="team-b")
    assert "did you mean 'team-a'?" in caught.value.hint


def test_an_account_of_another_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of vast, not of runpod"):
        resolve(profiles(a=Profile("vast")), account="a")


def test_a_provider_without_a_key_gets_none_and_asks_for_none() -> None:
    settings = profiles(a=Profile("local", settings={"x": 1}))
    access = config.resolve_access("local", account="a", key_variable=None, settings=settings, environ={"A": "b"})
    assert (access.key, access.key_source, access.settings, access.state_dir) == (None, "", {"x": 1}, Path("/state"))
    assert access.environ == {"A": "b"}


def test_the_accounts_settings_go_over_the_providers() -> None:
    settings = Settings(
        Path("/s"),
        providers={"mock": Profile("mock", base_url="https://p", settings={"a": 1, "b": 1})},
        accounts={"x": Profile("mock", settings={"b": 2})},
    )
    access = config.resolve_access("mock", account="x", key_variable=None, settings=settings, environ={})
    assert access.settings == {"a": 1, "b": 2}
    assert access.base_url == "https://p"


def test_a_stack_key_in_clear_is_refused() -> None:
    with pytest.raises(ConfigError, match="stands in clear") as caught:
        resolve(stack_config={"atlas:runpodApiKey": "s3cret"}, stack_secret_names=frozenset())
    assert "s3cret" not in caught.value.one_line()
    names = frozenset({"atlas:runpodApiKey"})
    assert resolve(stack_config={"atlas:runpodApiKey": "k"}, stack_secret_names=names).key == "k"


@pytest.mark.parametrize("key", ["s3cret\nX-Evil: 1", "s3crét", "s3cret\x00"])
def test_a_key_that_no_header_could_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="the environment variable RUNPOD_API_KEY") as caught:
        resolve(environ={"RUNPOD_API_KEY": key})
    assert "s3cr" not in caught.value.one_line()


def test_a_key_of_several_words_is_kept() -> None:
    access = config.resolve_access(
        "fly", key_variable="FLY_API_TOKEN", settings=BARE, environ={"FLY_API_TOKEN": "FlyV1 fm2_a,fm2_b"}
    )
    assert access.key == "FlyV1 fm2_a,fm2_b"


def test_a_fingerprint_tells_keys_apart_and_gives_none_away() -> None:
    assert config.key_fingerprint("abc") == hashlib.sha256(b"abc").hexdigest()[:8]
    assert config.key_fingerprint("abc") != config.key_fingerprint("abd")


def test_plain_text_keys_in_a_stack_file_are_found_and_not_shown() -> None:
    block = {
        "atlas:runpodApiKey": "s3cret-1",
        "atlas:vastApiKey": {"secure": "v1:abc"},
        "atlas:fly_api_key": "s3cret-2",
        "atlas:lambdaLabsApiKey": {"value": "s3cret-3"},
        "atlas:flyApiKey": "",
        "atlas:provider": "runpod",
        "other:runpodApiKey": "not ours",
    }
    failures = config.refuse_plain_keys(block)
    assert [f.path for f in failures] == ["atlas:runpodApiKey", "atlas:fly_api_key", "atlas:lambdaLabsApiKey"]
    assert not any("s3cret" in str(f) for f in failures)
    assert "--secret atlas:runpodApiKey" in failures[0].hint


def test_access_is_still_found_in_the_contract() -> None:
    assert contract.Access is Access
