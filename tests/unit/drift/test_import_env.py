"""Where environments are kept, and the file that the engine gets."""

from __future__ import annotations

import json

from pulumi_atlas.drift._import_env import EnvPlace, place_envs
from pulumi_atlas.drift._import_file import import_content
from pulumi_atlas.resources.existing import Stored

A, B = {"K": "1"}, {"K": "2"}


def test_one_has_a_setting_of_its_own_and_several_share_one() -> None:
    assert place_envs([("web", A), ("bare", {})], {}) == ([EnvPlace("webEnv"), None], {"webEnv": json.dumps(A)})
    places, secrets = place_envs([("web", A), ("db", B)], {})
    assert places == [EnvPlace("importedEnv", "web"), EnvPlace("importedEnv", "db")]
    assert json.loads(secrets["importedEnv"]) == {"web": A, "db": B}


def test_no_setting_of_the_users_is_overwritten() -> None:
    settings = {"webEnv": "mine", "importedEnv": json.dumps({"web": B})}
    assert place_envs([("web", A)], settings) == ([EnvPlace("webEnv2")], {"webEnv2": json.dumps(A)})
    assert set(place_envs([("web", A), ("db", B)], settings)[1]) == {"importedEnv2"}


def test_what_an_interrupted_import_has_kept_already_is_used() -> None:
    assert place_envs([("web", A)], {"webEnv": json.dumps(A)}) == ([EnvPlace("webEnv")], {})
    shared = {"importedEnv": json.dumps({"web": A, "db": B})}
    assert place_envs([("web", A), ("db", B)], shared)[1] == {}
    assert place_envs([("db", B)], shared)[0] == [EnvPlace("importedEnv", "db")]


def test_a_pod_and_a_volume_of_one_name_do_not_share_an_entry() -> None:
    places, secrets = place_envs([("web", A), ("web", B)], {})
    assert places == [EnvPlace("importedEnv", "web"), EnvPlace("importedEnv", "web2")]
    assert json.loads(secrets["importedEnv"]) == {"web": A, "web2": B}


def test_the_engines_file_holds_secrets_in_its_plaintext_form_only() -> None:
    env = {"HF": "PLANTED", "N": '"7"'}
    secret = frozenset({"env", "api_key"})
    row = Stored("t", "web", "p1", {"env": env, "name": "web"}, {"env": env, "api_key": "KEY"}, secret)
    assert "PLANTED" not in repr(row)
    [resource] = json.loads(import_content([row]))["resources"]
    assert (resource["type"], resource["name"], resource["id"]) == ("t", "web", "p1")
    assert resource["inputs"]["name"] == "web"
    hidden = [*resource["inputs"]["env"].values(), *resource["outputs"]["env"].values(), resource["outputs"]["api_key"]]
    assert all(set(one) == {"4dabf18193072939515e22adb298388d", "plaintext"} for one in hidden)
    assert [json.loads(one["plaintext"]) for one in hidden] == ["PLANTED", '"7"', "PLANTED", '"7"', "KEY"]
