"""What cannot be right is refused at preview, with the property's path and a hint, before anything is made."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.e2e

BAD = {
    "unknown_provider": ('atlas.Pod("p", provider="locale", command=["true"])', ["provider:", "did you mean 'local'?"]),
    "no_provider": ('atlas.Pod("p", command=["true"])', ["provider:", "ATLAS_PROVIDER", "atlas:provider"]),
    "unknown_option": (
        'atlas.Pod("p", provider="local", command=["true"], provider_options={"grase_s": 3})',
        ["provider_options.grase_s", "grace_s"],
    ),
    "gpu_on_local": (
        'atlas.Pod("p", provider="local", command=["true"], gpu=["h100"])',
        ["gpu: not possible", "local"],
    ),
    "negative_size": (
        'atlas.Volume("p", provider="local", size_gb=-1)',
        ["size_gb: must be greater than or equal to 1"],
    ),
    "port_range": (
        'atlas.Pod("p", provider="local", command=["true"], ports=["70000/http"])',
        ["ports[0]: port 70000 is out of range", "1 to 65535"],
    ),
    "port_twice": (
        'atlas.Pod("p", provider="local", command=["true"], ports=["80", "80/tcp"])',
        ["ports[1]: port 80 is given twice"],
    ),
    "volume_twice": (
        'atlas.Pod("p", provider="local", command=["true"], volumes={"/a": "vol-1", "/b": "vol-1"})',
        ["volumes./a: volume vol-1 is mounted twice"],
    ),
    "lacking_ability": (
        'atlas.Pod("p", provider="local", command=["true"], spot=True)',
        ["spot: not possible with provider 'local'"],
    ),
    "wrong_types": (
        'atlas.Pod("p", provider="local", command="python x", env={"SECRET": 1}, gpu_count="2")',
        ["command: must be a list", "env.SECRET: must be text", "gpu_count: must be a whole number"],
    ),
    "shrunken_name": ('atlas.Pod("-bad name-", provider="local", command=["true"])', ["name: has a form"]),
    "two_workers": (
        'atlas.Endpoint("p", provider="local", handler="a:b", command=["x"])',
        ["command: cannot be given together with handler"],
    ),
    "workers_order": (
        'atlas.Endpoint("p", provider="local", handler="a:b", workers={"min": 3, "max": 1})',
        ["workers: min (3) is more than max (1)"],
    ),
}


def test_each_bad_input_is_refused_with_its_path_and_a_hint(project: Project) -> None:
    """All in one program: every resource's failures are reported, not just the first's."""
    lines = [line.replace('"p"', f'"{name.replace("_", "-")}"', 1) for name, (line, _) in BAD.items()]
    project.program("\n".join(lines))
    shown = project.preview()
    flat = " ".join(shown.out.split())
    assert shown.code != 0
    missing = [(name, part) for name, (_, parts) in BAD.items() for part in parts if part not in flat]
    assert not missing, shown.out
    assert "Traceback" not in shown.out
    assert project.rented() == []
    assert project.rented("volumes") == []


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
