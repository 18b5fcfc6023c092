"""The fixtures for users' own programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.client import Atlas, IntentBook
from pulumi_atlas.errors import ConfigError, InvalidSpec, NoCapacity
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import World

PROJECT = """
import pulumi
import pulumi_atlas as atlas
from parts import SIZE

config = pulumi.Config()
data = atlas.Volume("data", provider="mock", size_gb=SIZE)
pod = atlas.Pod("trainer", provider="mock", image="busybox", ports=["8888/http"], volumes={"/data": data.id},
                env={"TOKEN": config.require_secret("token")})
pulumi.export("url", pod.urls["8888"])
pulumi.export("pod", pod.id)
pulumi.export("stack", pulumi.get_stack())
pulumi.export("hidden", config.require_secret("token"))
"""


def test_the_client_works_on_a_world_of_its_own(atlas: Atlas, atlas_mock_world: World) -> None:
    assert not atlas_mock_world.pods
    pod = atlas.spawn_compute(image="busybox", name="worker")
    atlas_mock_world.finish(pod.id, exit_code=3)
    assert (atlas.get_compute(pod.id).status, atlas.get_compute(pod.id).exit_code) == ("failed", 3)


def test_another_test_sees_nothing_of_that_world(atlas_mock_world: World) -> None:
    assert not atlas_mock_world.pods
    assert not atlas_mock_world.calls()


def test_a_programs_resources_are_made_on_the_mock_cloud(
    atlas_program: Callable[..., Any], atlas_mock_world: World
) -> None:
    import pulumi

    import pulumi_atlas as atlas

    def program() -> None:
        data = atlas.Volume("data", size_gb=5)
        pod = atlas.Pod("trainer", image="busybox", ports=[8888], volumes={"/data": data.id})
        api = atlas.Endpoint("infer", handler="app:run", workers=atlas.Workers(min=1, max=2))
        pulumi.export("url", pod.urls["8888"])
        pulumi.export("status", pod.status)
        pulumi.export("api", api.url)

    made = atlas_program(program)
    assert {one.type for one in made.resources} == {"Pod", "Volume", "Endpoint"}
    pod, volume = made["trainer"], made["data"]
    assert pod.id in atlas_mock_world.pods
    assert pod.inputs["volumes"] == {"/data": volume.id}
    assert pod.inputs["desired_status"] == "running"
    assert atlas_mock_world.pods[pod.id].spec == ComputeSpec(
        name="trainer", image="busybox", ports=("8888/http",), volumes={"/data": volume.id}
    )
    assert made.outputs["url"] == f"https://{pod.id}-8888.mock.local"
    assert made.outputs["status"] == "running"
    assert made.outputs["api"] == made["infer"].outputs["url"]
    assert [one.name for one in made.of_type("Pod")] == ["trainer"]


def test_what_is_issued_for_a_pod_is_secret_in_a_program(
    atlas_program: Callable[..., Any], atlas_mock_world: World
) -> None:
    import pulumi

    import pulumi_atlas as atlas

    def program() -> None:
        pod = atlas.Pod("trainer", provider="mock", image="busybox", auth="signed_url", env={"RUN": "7"})
        api = atlas.Endpoint("infer", provider="mock", handler="app:run")
        bare = atlas.Pod("bare", provider="mock", image="busybox")
        seen = atlas.Pod.get("seen", pod.id, provider="mock")
        pulumi.export("token", pod.token)
        pulumi.export("key", pod.signing_key)
        pulumi.export("kid", pod.signing_kid)
        pulumi.export("header", pod.token.apply(lambda token: f"Bearer {token}"))
        pulumi.export("none", bare.token)
        pulumi.export("read", seen.token)
        pulumi.export("api_key", api.api_key)

    made = atlas_program(program)
    outputs = made["trainer"].outputs
    assert made.secrets >= {"token", "key", "header"} and "kid" not in made.secrets
    assert made.outputs["token"] == outputs["token"] and made.outputs["kid"] == outputs["signing_kid"]
    assert made.outputs["header"] == f"Bearer {outputs['token']}"
    assert made.outputs.get("none") is None and made.outputs.get("read") is None
    assert made["trainer"].inputs["env"] == outputs["env"] == {"RUN": "7"}
    pod = atlas_mock_world.pods[made["trainer"].id]
    assert pod.spec is not None and outputs["token"] not in pod.spec.env.values()


def test_at_preview_nothing_is_issued(atlas_program: Callable[..., Any]) -> None:
    import pulumi_atlas as atlas

    def program() -> None:
        atlas.Pod("trainer", provider="mock", image="busybox", auth="bearer")

    assert "token" not in atlas_program(program, preview=True)["trainer"].outputs


def test_a_project_folder_runs_with_its_configuration_and_modules(
    atlas_program: Callable[..., Any], tmp_path: Path
) -> None:
    folder = _project(tmp_path)
    made = atlas_program(folder, stack="dev", secrets={"shop:token": "s3cr3t"})
    assert made["data"].inputs["size_gb"] == 7
    assert made["trainer"].inputs["env"] == {"TOKEN": "s3cr3t"}
    assert made.outputs["stack"] == "dev"
    assert made.outputs["pod"] == made["trainer"].id
    assert made.secrets == {"hidden"}
    assert "parts" not in sys.modules


def test_programs_can_run_one_after_the_other(atlas_program: Callable[..., Any], tmp_path: Path) -> None:
    folder = _project(tmp_path)
    first = atlas_program(folder, secrets={"shop:token": "one"})
    second = atlas_program(folder, secrets={"shop:token": "two"})
    assert first["trainer"].id != second["trainer"].id
    assert second["trainer"].inputs["env"] == {"TOKEN": "two"}


def test_bad_arguments_raise_every_failure_with_the_resources_name(
    atlas_program: Callable[..., Any], atlas_mock_world: World
) -> None:
    import pulumi_atlas as atlas

    def program() -> None:
        atlas.Pod("bad", provider="mock", image="busybox", ports=[0, "80/http"], gpu_count=-1)

    with pytest.raises(InvalidSpec) as caught:
        atlas_program(program)
    assert {failure.path for failure in caught.value.failures} == {"bad.ports[0]", "bad.gpu_count"}
    assert not atlas_mock_world.pods


def test_the_check_is_that_of_the_provider_that_the_program_names(
    atlas_program: Callable[..., Any], atlas_mock_world: World
) -> None:
    import pulumi_atlas as atlas

    def refused() -> None:
        atlas.Pod("bad", provider="local", command=["true"], gpu="h100")

    def good() -> None:
        atlas.Pod("good", provider="local", command=["sleep", "9"], provider_options={"grace_s": 3})

    with pytest.raises(InvalidSpec, match=r"bad\.gpu"):
        atlas_program(refused)
    made = atlas_program(good)
    assert made["good"].inputs["provider"] == made["good"].outputs["provider"] == "local"
    assert made["good"].outputs["provider_options"] == {"grace_s": 3}
    assert made["good"].id in atlas_mock_world.pods


def test_a_failing_cloud_raises_its_error(atlas_program: Callable[..., Any], atlas_mock_world: World) -> None:
    import pulumi_atlas as atlas

    def program() -> None:
        atlas.Pod("trainer", provider="mock", image="busybox")

    atlas_mock_world.fail_next("create_compute", "no_capacity")
    with pytest.raises(NoCapacity, match="trainer"):
        atlas_program(program)
    assert atlas_program(program)["trainer"].id in atlas_mock_world.pods


def test_at_preview_nothing_is_made_and_arguments_are_checked(
    atlas_program: Callable[..., Any], atlas_mock_world: World
) -> None:
    import pulumi_atlas as atlas

    def program(size: int = 5) -> None:
        data = atlas.Volume("data", provider="mock", size_gb=size)
        atlas.Pod("trainer", provider="mock", image="busybox", volumes={"/data": data.id})

    made = atlas_program(program, preview=True)
    assert {one.id for one in made.resources} == {""}
    assert not atlas_mock_world.pods
    assert not atlas_mock_world.volumes
    with pytest.raises(InvalidSpec, match=r"data\.size_gb"):
        atlas_program(lambda: program(-1), preview=True)


def test_the_programs_own_errors_come_through(atlas_program: Callable[..., Any]) -> None:
    def program() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        atlas_program(program)


def test_a_folder_without_a_project_is_refused(atlas_program: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Pulumi\.yaml"):
        atlas_program(tmp_path)


def test_an_existing_pod_can_be_read(atlas_program: Callable[..., Any], atlas_mock_world: World) -> None:
    import pulumi

    import pulumi_atlas as atlas

    there = atlas_mock_world.plant(ComputeSpec(name="shared", image="busybox"))

    def program() -> None:
        pulumi.export("status", atlas.Pod.get("shared", there.id, provider="mock").status)

    assert atlas_program(program).outputs["status"] == "running"


def test_resources_in_components_are_made_too(atlas_program: Callable[..., Any]) -> None:
    import pulumi

    import pulumi_atlas as atlas

    class Farm(pulumi.ComponentResource):
        def __init__(self, name: str) -> None:
            super().__init__("acme:index:Farm", name)
            for place in range(3):
                atlas.Pod(f"{name}-{place}", provider="mock", image="busybox", opts=pulumi.ResourceOptions(parent=self))

    made = atlas_program(lambda: Farm("farm"))
    assert sorted(one.name for one in made.of_type("Pod")) == ["farm-0", "farm-1", "farm-2"]


def test_no_intent_is_left_after_a_program(
    atlas_program: Callable[..., Any], atlas_mock_world: World, tmp_path: Path
) -> None:
    import pulumi_atlas as atlas

    atlas_program(lambda: atlas.Pod("trainer", provider="mock", image="busybox"))
    assert atlas_mock_world.pods
    assert not list(IntentBook(tmp_path / "atlas-mock" / "state").unclosed())


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pulumi_atlas.testing.pytest_plugin; "
        "print([n for n in ('pulumi', 'pydantic', 'httpx', 'hypothesis', 'yaml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.atlas_live
def test_what_costs_money_is_skipped() -> None:
    raise AssertionError("this must not run")


def _project(parent: Path) -> Path:
    folder = parent / "shop"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "__main__.py").write_text(PROJECT)
    (folder / "parts.py").write_text("SIZE = 7\n")
    return folder


def test_the_dynamic_providers_of_others_are_not_run(atlas_program: Callable[..., Any]) -> None:
    from pulumi.dynamic import CreateResult, Resource, ResourceProvider

    class Expensive(ResourceProvider):
        def create(self, props: dict[str, Any]) -> CreateResult:
            raise AssertionError("this must not run")

    class Thing(Resource):
        pass

    made = atlas_program(lambda: Thing(Expensive(), "thing", {"size": 3}))
    assert made["thing"].id == "thing-id"
    assert made["thing"].inputs["size"] == 3
