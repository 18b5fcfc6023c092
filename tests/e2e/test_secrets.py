"""Secrets that are planted in a program are found nowhere in clear: state, history, backups, logs of the engine, errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.project import Project, Run

pytestmark = pytest.mark.e2e

SECRET = "hf_PLANTED_0123456789"


def files_with(folder: Path, needle: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


def test_a_secret_in_the_environment_stays_secret(project: Project) -> None:
    project.program(f"""
        token = pulumi.Output.secret("{SECRET}")
        pod = atlas.Pod("p", provider="local", command=["sleep", "600"], env={{"HF": token, "PLAIN": "visible-value"}})
        pulumi.export("env", pod.env)
    """)
    runs = [project.preview(), project.up(), project.up(), project.drift(), project.refresh()]
    assert all(SECRET not in run.ok().out for run in runs)
    (pod,) = project.atlas.list_compute()
    assert pod.spec is not None and pod.spec.env["HF"] == SECRET
    assert files_with(project.state, SECRET) == []
    assert files_with(project.home, SECRET) == []
    assert files_with(Path(project.environ["ATLAS_STATE_DIR"]), SECRET) == []
    assert files_with(project.state, "visible-value") != []
    assert project.outputs(secrets=True)["env"]["HF"] == SECRET
    project.destroy().ok()
    assert files_with(project.state, SECRET) == []


@pytest.mark.parametrize("auth", ["bearer", "signed_url", "preshared"])
def test_what_is_issued_for_a_pod_is_found_nowhere_in_clear(project: Project, auth: str) -> None:
    """Whatever is done to the pod: not on the screen, in the state, its history and backups, nor in our own notes."""
    text = """
        pod = atlas.Pod("p", provider="local", command=["sleep", "600"], auth="{auth}"{more})
        pulumi.export("token", pod.token)
        pulumi.export("key", pod.signing_key)
        pulumi.export("header", pulumi.Output.concat("Bearer ", pod.token))
    """
    seen: list[str] = []
    planted: set[str] = set()

    def step(*runs: Run) -> None:
        seen.extend(run.ok().out for run in runs)
        out = project.outputs(secrets=True)
        planted.update(part for part in (out["token"], out.get("key")) if part)
        places = [project.state, project.home, project.folder, Path(project.environ["ATLAS_STATE_DIR"])]
        for secret in planted:
            assert [path for place in places for path in files_with(place, secret)] == []
            assert not any(secret in printed for printed in seen)

    project.program(text.format(auth=auth, more=""))
    step(project.preview(), project.up())
    assert project.outputs()["token"] == "[secret]" and project.outputs()["header"] == "[secret]"
    project.program(text.format(auth=auth, more=', env={"A": "1"}'))
    step(project.preview(), project.up("--diff"), project.drift(), project.refresh("--diff"))
    project.program(text.format(auth=auth, more=', desired_status="stopped"'))
    step(project.up("--diff"))
    project.program(text.format(auth=auth, more=", auth_generation=1"))
    step(project.preview(), project.up("--diff"), project.up("--refresh", "--json"))
    assert len(planted) == (4 if auth == "signed_url" else 2)
    if auth == "bearer":
        assert files_with(Path(project.environ["ATLAS_LOCAL_DIR"]), planted.pop()) == []
    step_out = project.destroy("--diff").ok().out
    assert not any(secret in step_out for secret in planted)
    assert [path for secret in planted for path in files_with(project.state, secret)] == []


def test_a_guarded_pod_that_fails_shows_neither_token_nor_key(project: Project) -> None:
    show = "import os, sys; print(*(f'{k}={v}' for k, v in os.environ.items() if k.startswith('ATLAS_'))); sys.exit(1)"
    for auth in ("preshared", "signed_url"):
        project.file("show.py", show)
        project.program(f"""
            atlas.Pod("dies", provider="local", ports=["80"], command=["python", "show.py"], working_dir=".", auth="{auth}")
        """)
        failed = project.up().failed()
        assert "ATLAS_TOKEN_HASHES=" in failed.out and "[secret]" in failed.out and "Traceback" not in failed.out
        shown = dict(word.partition("=")[::2] for word in failed.out.split() if word.startswith("ATLAS_"))
        assert shown.get("ATLAS_PRESHARED_KEY", "[secret]") == "[secret]"
        assert shown.get("ATLAS_URL_KEYS", "x:[secret]").partition(":")[2] == "[secret]"
        assert len(shown) > 3


def test_errors_hold_no_secret_and_no_traceback(project: Project) -> None:
    project.program(f"""
        token = pulumi.Output.secret("{SECRET}")
        atlas.Pod("refused", provider="local", command=["x"], env={{"HF": token, "BAD": 1}})
    """)
    shown = project.preview().failed()
    assert "env.BAD" in shown.out and SECRET not in shown.out and "Traceback" not in shown.out
    project.program(f"""
        token = pulumi.Output.secret("{SECRET}")
        atlas.Pod("dies", provider="local", ports=["80"], env={{"HF": token}},
                  command=["python", "-c", "import os, sys; print(os.environ['HF']); sys.exit(1)"])
    """)
    failed = project.up().failed()
    assert SECRET not in failed.out and "[secret]" in failed.out and "Traceback" not in failed.out


def test_an_endpoints_key_is_a_secret_output(project: Project) -> None:
    project.file("echo.py", "def handler(job):\n    return job['input']\n")
    project.program("""
        api = atlas.Endpoint("api", provider="local", handler="echo:handler", working_dir=".")
        pulumi.export("key", api.api_key)
        pulumi.export("url", api.url)
    """).up().ok()
    key = project.outputs(secrets=True)["key"]
    assert len(key) > 20
    assert project.outputs()["key"] == "[secret]"
    project.refresh().ok()
    project.up().ok()
    assert files_with(project.state, key) == []
    project.destroy().ok()


def test_the_state_holds_no_code_and_one_constant_per_class(project: Project) -> None:
    project.program("""
        for n in range(3):
            atlas.Pod(f"p{n}", provider="local", command=["sleep", "600"])
    """).up().ok()
    stored = {row["inputs"]["__provider"] for name, row in project.resources().items() if name.startswith("p")}
    assert len(stored) == 1
    assert len(stored.pop()) < 120
