"""The arguments that declare what is there."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_atlas.client.issue import issue
from pulumi_atlas.models import (
    Compute,
    ComputeSpec,
    EndpointSpec,
    ObservedEndpoint,
    ObservedPort,
    ObservedVolume,
    PodArgs,
    Workers,
)
from pulumi_atlas.rules.declaring import endpoint_arguments, pod_arguments, volume_arguments
from pulumi_atlas.rules.diff import plan_pod


def pod(status: str = "running", **fields: Any) -> Compute:
    spec = fields.pop("spec", ComputeSpec(name="web", command=("serve",), env={"A": "1"}, ports=("80",)))
    return Compute(id="p1", provider="mock", account="a", status=status, spec=spec, **fields)


def test_only_what_is_no_default_is_said_and_the_name_is_the_resources() -> None:
    assert pod_arguments(pod()) == {"command": ["serve"], "env": {"A": "1"}, "ports": ["80/http"]}
    assert endpoint_arguments(
        ObservedEndpoint(
            id="e", provider="m", account="a", status="ready",
            spec=EndpointSpec(name="x", image="i", workers=Workers(max=4)),
        )
    ) == {"image": "i", "workers": {"max": 4}}  # fmt: skip


@pytest.mark.parametrize(
    ("auth", "generation", "told"),
    [
        ("bearer", 0, {"auth": "bearer"}),
        ("signed_url", 3, {"auth": "signed_url", "auth_generation": 3}),
        ("preshared", 0, {"auth": "preshared"}),
    ],
)
def test_a_guarded_pod_is_declared_so_and_its_generated_environment_is_not(
    auth: Any, generation: int, told: dict[str, Any]
) -> None:
    generated = issue(auth, generation=generation).environment()
    for own in ({}, {"A": "1"}):
        spec = ComputeSpec(name="web", command=("serve",), env={**own, **generated})
        expected = {"command": ["serve"], **told, **({"env": own} if own else {})}
        assert pod_arguments(pod(spec=spec)) == expected


def test_a_key_of_the_users_own_guards_nothing() -> None:
    spec = ComputeSpec(name="web", command=("serve",), env={"ATLAS_PRESHARED_KEY": "mine"})
    assert pod_arguments(pod(spec=spec)) == {"command": ["serve"], "env": {"ATLAS_PRESHARED_KEY": "mine"}}


@pytest.mark.parametrize(
    ("status", "on_exit", "code", "desired"),
    [
        ("running", "keep", None, None),
        ("provisioning", "keep", None, None),
        ("finished", "keep", 0, None),
        ("stopped", "stop", 0, None),
        ("stopped", "stop", 1, "stopped"),
        ("stopped", "keep", None, "stopped"),
        ("failed", "keep", 1, "stopped"),
    ],
)
def test_its_power_is_declared_so_that_nothing_is_started_or_stopped(
    status: str, on_exit: str, code: int | None, desired: str | None
) -> None:
    seen = pod(status, exit_code=code, spec=ComputeSpec(command=("x",), on_exit=on_exit))
    said = pod_arguments(seen)
    assert said.get("desired_status") == desired
    outputs = {**said, "status": status, "exit_code": code}
    assert plan_pod(outputs, said, {}, can_stop=True).is_empty
    assert PodArgs.model_validate({**said, "provider": "mock"})


def test_a_pod_without_its_spec_is_declared_by_what_is_seen() -> None:
    seen = pod(spec=None, image="img:1", gpu="h100", gpu_count=2, ports=(ObservedPort(internal=22, protocol="tcp"),))
    assert pod_arguments(seen) == {"image": "img:1", "ports": ["22/tcp"], "gpu": ["h100"], "gpu_count": 2}


def test_a_volumes_region_counts_only_where_there_are_regions() -> None:
    volume = ObservedVolume(id="v", provider="m", account="a", size_gb=5, region="eu")
    assert volume_arguments(volume, has_regions=True) == {"size_gb": 5, "region": "eu"}
    assert volume_arguments(volume, has_regions=False) == {"size_gb": 5}
