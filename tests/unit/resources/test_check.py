"""Check refuses, without the network, what cannot be right: each failure with the property's path and a hint."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from pulumi_atlas.resources.endpoint import _EndpointProvider
from pulumi_atlas.resources.pod import _PodProvider
from pulumi_atlas.resources.volume import _VolumeProvider

POD: dict[str, Any] = {"provider": "local", "name": "p", "command": ["true"], "__provider": "x", "owner": "stack:s:p"}
VOLUME: dict[str, Any] = {"provider": "local", "name": "v", "size_gb": 1.0, "__provider": "x", "owner": "stack:s:v"}
ENDPOINT: dict[str, Any] = {"provider": "local", "name": "e", "__provider": "x", "owner": "stack:s:e"}

BAD_PODS = {
    "unknown provider": ({"provider": "locale"}, ["provider:", "did you mean 'local'?"]),
    "unknown option": ({"comand": ["x"]}, ["comand: is not an option", "did you mean 'command'?"]),
    "unknown provider option": ({"provider_options": {"grase_s": 3.0}}, ["provider_options.grase_s", "grace_s"]),
    "gpu on local": ({"gpu": ["h100"]}, ["gpu: not possible with provider 'local'"]),
    "misspelt gpu": ({"provider": "mock", "gpu": ["h10"]}, ["gpu[0]: there is no GPU 'h10'"]),
    "port out of range": ({"ports": ["70000/http"]}, ["ports[0]: port 70000 is out of range", "1 to 65535"]),
    "port given twice": ({"ports": ["80", 80.0]}, ["ports[1]: port 80 is given twice"]),
    "volume mounted twice": ({"volumes": {"/a": "v", "/b": "v"}}, ["volumes./a: volume v is mounted twice"]),
    "path out of the pod": ({"volumes": {"/a/../b": "v"}}, ["volumes./a/../b: a mount path may not hold '..'"]),
    "lacking ability": ({"spot": True}, ["spot: not possible with provider 'local'"]),
    "text for a command": ({"command": "python x"}, ["command: must be a list", '["sh", "-c"']),
    "number in the environment": ({"env": {"A": 1.0}}, ["env.A: must be text"]),
    "text for a count": ({"provider": "mock", "gpu_count": "2"}, ["gpu_count: must be a whole number"]),
    "negative lifetime": ({"max_lifetime_s": -1.0}, ["max_lifetime_s: must be greater than 0"]),
    "empty folder": ({"working_dir": ""}, ["working_dir: must not be empty"]),
    "name": ({"name": "-bad-"}, ["name: has a form that is not allowed", "letters"]),
    "nested option": ({"timeouts": {"create": 3.0}}, ["timeouts.create: is not an option", "create_s"]),
    "ready port": ({"ports": ["80"], "ready": {"port": 81.0}}, ["ready.port: is not one of the pod's ports"]),
    "kind of access": ({"auth": "basic"}, ["auth:", "'bearer', 'signed_url' or 'preshared'"]),
    "generation": (
        {"auth": "bearer", "auth_generation": -1.0},
        ["auth_generation: must be greater than or equal to 0"],
    ),
    "generated name": (
        {"auth": "bearer", "env": {"ATLAS_TOKEN_HASHES": "x", "ATLAS_GUARD_KEY": "y", "ATLAS_ORIGINS": "*"}},
        ["env.ATLAS_TOKEN_HASHES: is generated because of auth=", "env.ATLAS_GUARD_KEY: is", "leave it out"],
    ),
    "environment as an option": ({"provider_options": {"env": {}}}, ["provider_options.env: would replace", "env=…"]),
    "status": ({"desired_status": "paused"}, ["desired_status:", "'running' or 'stopped'"]),
}


def reasons(result: Any) -> str:
    return " ".join(failure.reason for failure in result.failures)


@pytest.mark.parametrize("what", BAD_PODS)
def test_a_bad_pod_is_refused_with_path_and_hint(what: str) -> None:
    change, parts = BAD_PODS[what]
    result = _PodProvider().check({}, {**POD, **change})
    for part in parts:
        assert part in reasons(result)
    assert all(failure.property == "" for failure in result.failures), "a named property's value would be printed"


def test_a_bad_volume_is_refused() -> None:
    assert "size_gb: must be greater than or equal to 1" in reasons(
        _VolumeProvider().check({}, {**VOLUME, "size_gb": -1.0})
    )
    assert "size_gb: is required" in reasons(_VolumeProvider().check({}, {**VOLUME, "size_gb": None}))
    assert "region: not possible" in reasons(_VolumeProvider().check({}, {**VOLUME, "region": "EU"}))


def test_a_bad_endpoint_is_refused() -> None:
    check = _EndpointProvider().check
    assert "handler: is required" in reasons(check({}, ENDPOINT))
    assert "command: cannot be given together with handler" in reasons(
        check({}, {**ENDPOINT, "handler": "a:b", "command": ["x"]})
    )
    assert "handler: has a form" in reasons(check({}, {**ENDPOINT, "handler": "a.py"}))
    crossed = {**ENDPOINT, "handler": "a:b", "workers": {"min": 3.0, "max": 1.0}}
    assert "workers: min (3) is more than max (1)" in reasons(check({}, crossed))


def test_unknown_leaves_pass_through_untouched() -> None:
    unknown = pulumi.output.Unknown()
    news = {**POD, "env": {"A": unknown, "B": "b"}, "command": ["run", unknown], "volumes": {"/d": unknown}}
    result = _PodProvider().check({}, news)
    assert result.failures == []
    assert isinstance(result.inputs["env"]["A"], pulumi.output.Unknown)
    assert isinstance(result.inputs["command"][1], pulumi.output.Unknown)


def test_an_unknown_leaf_hides_no_failure_beside_it() -> None:
    news = {**POD, "env": {"A": pulumi.output.Unknown(), "B": 3.0}}
    assert "env.B: must be text" in reasons(_PodProvider().check({}, news))


def test_defaults_are_filled_in_and_spellings_made_one() -> None:
    inputs = _PodProvider().check({}, {**POD, "ports": [8888.0, "22/TCP"]}).inputs
    assert inputs["desired_status"] == "running"
    assert inputs["on_exit"] == "keep"
    assert inputs["ports"] == ["8888/http", "22/tcp"]


def test_a_new_thing_gets_a_birth_and_an_old_one_keeps_its_own() -> None:
    first = _PodProvider().check({}, POD).inputs["birth"]
    assert first != _PodProvider().check({}, POD).inputs["birth"]
    olds = {**POD, "birth": first, "owner": "stack:old:p"}
    kept = _PodProvider().check(olds, POD).inputs
    assert (kept["birth"], kept["owner"]) == (first, "stack:old:p")


def test_a_secret_value_is_never_in_a_reason() -> None:
    result = _PodProvider().check({}, {**POD, "env": {"TOKEN": "s3cret-value", "BAD": 1.0}, "working_dir": ""})
    assert "s3cret-value" not in reasons(result)
