"""What cannot be right is refused at preview, with the property's path and a hint, before anything is made."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e


def test_every_failure_of_a_resource_is_reported_at_once_with_path_and_hint(project: Project) -> None:
    """The engine stops at the first resource that is refused; ours says everything that is wrong with it."""
    project.program("""
        atlas.Pod("p", provider="local", command="python x", env={"SECRET": 1}, gpu=["h100"], ports=["70000/http", "80", 80],
                  volumes={"/a": "vol-1", "/b": "vol-1"}, spot=True, provider_options={"grase_s": 3})
    """)
    shown = project.preview().failed()
    flat = " ".join(shown.out.split())
    for part in (
        "command: must be a list",
        "env.SECRET: must be text",
        "gpu: not possible with provider 'local'",
        "ports[0]: port 70000 is out of range",
        "ports[2]: port 80 is given twice",
        "volumes./b: volume vol-1 is mounted twice",
        "spot: not possible with provider 'local'",
        "provider_options.grase_s",
    ):
        assert part in flat, shown.out
    assert "Traceback" not in shown.out
    assert project.rented() == []


def test_a_missing_provider_names_the_ways_out(project: Project) -> None:
    shown = project.program('atlas.Pod("p", command=["true"])').preview().failed()
    assert "ATLAS_PROVIDER" in shown.out and "atlas:provider" in shown.out and "Traceback" not in shown.out
    project.pulumi("config", "set", "atlas:provider", "local").ok()
    project.preview().ok()


def test_a_plain_text_key_in_the_stacks_configuration_is_refused(project: Project) -> None:
    project.program('atlas.Pod("p", provider="local", command=["true"])')
    project.start()
    project.pulumi("config", "set", "atlas:runpodApiKey", "rpa_plain_text").ok()
    shown = project.preview().failed()
    assert "config.atlas:runpodApiKey" in shown.out
    assert "pulumi config set --secret atlas:runpodApiKey" in shown.out
    assert "rpa_plain_text" not in shown.out
    project.pulumi("config", "set", "--secret", "atlas:runpodApiKey", "rpa_plain_text").ok()
    project.preview().ok()


def test_an_unknown_value_at_preview_is_no_failure(project: Project) -> None:
    project.program("""
        data = atlas.Volume("data", provider="local", size_gb=1)
        pod = atlas.Pod("p", provider="local", command=["true", data.id], env={"ID": data.id}, volumes={"/d": data.id})
    """)
    project.preview().ok()


def test_what_turns_out_wrong_after_preview_is_refused_before_renting(project: Project) -> None:
    project.program("""
        data = atlas.Volume("data", provider="local", size_gb=1)
        pod = atlas.Pod("p", provider="local", command=["true"], ports=[data.id])
    """)
    project.preview().ok()
    failed = project.up().failed()
    assert "ports[0]" in failed.out
    assert project.rented() == []
    assert [path for path in project.intents() if '"pod"' in path.read_text()] == []
