"""A guarded pod under the real engine: who is let in, over all that happens to the pod, and what is told to whom."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from atlas_session import sign_url
from atlas_session.tokens import hash_token
from pulumi_atlas import processes
from tests.e2e.project import Project
from tests.e2e.test_pod_life import wait_until

pytestmark = pytest.mark.e2e

SERVER = """
import os
import uvicorn
from atlas_session.guard import Guard

async def page(scope, receive, send):
    assert scope["type"] == "http"
    shown = f'{os.environ["WORD"]} {scope["path"]} {scope["query_string"].decode()}'
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": shown.encode()})

uvicorn.run(Guard(page) if "ATLAS_TOKEN_HASHES" in os.environ else page, host="127.0.0.1",
            port=int(os.environ["PORT"]), lifespan="off", log_level="warning")
"""

PROGRAM = """
pod = atlas.Pod("web", provider="local", command=["{python}", "guarded.py"], working_dir=".", ports=["8888"],
                env={{"WORD": "{word}"}}{more})
for name in ("id", "status", "token", "signing_key", "signing_kid"):
    pulumi.export(name, getattr(pod, name))
pulumi.export("url", pod.urls["8888"])
"""


def web(project: Project, auth: str | None = "bearer", *, word: str = "one", **more: Any) -> Project:
    given = {"auth": auth, **more} if auth else more
    project.file("guarded.py", SERVER)
    return project.program(
        PROGRAM.format(
            python=sys.executable, word=word, more="".join(f", {name}={value!r}" for name, value in given.items())
        )
    )


def ask(url: str, token: str | None = None) -> tuple[int, str]:
    """Status and body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def secrets_of(project: Project) -> dict[str, Any]:
    return project.outputs(secrets=True)


def signed(out: dict[str, Any], path: str, **more: Any) -> str:
    return sign_url(out["url"] + path, key=out["signing_key"], kid=out["signing_kid"], expires_in_s=600, **more)


def told(project: Project, pod_id: str) -> dict[str, str]:
    """The environment of the pod's process, as the system has it."""
    return dict(processes.environment_of(project.pod_pid(pod_id)))


def test_only_the_token_lets_in_and_an_update_keeps_it(project: Project) -> None:
    web(project).up().ok()
    out = secrets_of(project)
    assert project.outputs()["token"] == "[secret]"
    assert ask(out["url"])[0] == 401
    assert ask(out["url"], "atlas_" + "A" * 43)[0] == 401
    assert ask(out["url"], out["token"]) == (200, "one / ")
    project.up("--expect-no-changes").ok()
    web(project, word="two").up().ok()
    after = secrets_of(project)
    assert after == out
    assert ask(out["url"], out["token"]) == (200, "two / ")
    assert ask(out["url"])[0] == 401
    assert "signing_key" not in out and "signing_kid" not in out


def test_three_refreshes_of_an_untouched_guarded_pod_show_nothing(project: Project) -> None:
    web(project, "signed_url", auth_generation=2).up().ok()
    out = secrets_of(project)
    for _ in range(3):
        seen = project.drift()
        assert seen.code == 0, seen.out
        project.refresh("--expect-no-changes").ok()
        project.up("--expect-no-changes").ok()
    assert secrets_of(project) == out
    inputs = project.resources()["web"]["inputs"]
    assert list(inputs["env"]) == ["WORD"]


def test_another_generation_revokes_the_token_and_every_signed_url(project: Project) -> None:
    web(project, "signed_url").up().ok()
    old = secrets_of(project)
    old_url = signed(old, "/page")
    assert ask(old_url)[0] == 200
    shown = web(project, "signed_url", auth_generation=1).preview().ok()
    assert "auth_generation" in shown.out and "replace" not in shown.out
    assert old["token"] not in shown.out
    project.up().ok()
    new = secrets_of(project)
    assert (new["id"], new["url"]) == (old["id"], old["url"])
    assert not {old["token"], old["signing_key"], old["signing_kid"]} & set(new.values())
    assert ask(new["url"], old["token"])[0] == 401
    assert ask(old_url)[0] == 403
    assert ask(signed(old, "/page", generation=1))[0] == 403
    assert ask(new["url"], new["token"])[0] == 200
    assert ask(signed(new, "/page", generation=1))[0] == 200
    assert project.drift().code == 0


def test_at_preview_a_new_token_is_unknown_to_those_who_use_it(project: Project) -> None:
    """Never the old one, which would be shown as what they keep."""
    user = """
user = atlas.Pod("user", provider="local", command=["sleep", "600"], env={"TOKEN": pod.token})
"""
    web(project)
    main = project.folder / "__main__.py"
    main.write_text(main.read_text() + user)
    project.up().ok()
    old = secrets_of(project)["token"]
    web(project, auth_generation=1)
    main.write_text(main.read_text() + user)
    shown = project.preview().ok()
    assert "~ 2 to update" in shown.out and "TOKEN" in shown.out and old not in shown.out, shown.out
    project.up().ok()
    new = secrets_of(project)["token"]
    (pod,) = project.atlas.list_compute(name="user")
    assert pod.spec is not None and pod.spec.env["TOKEN"] == new != old
    project.up("--expect-no-changes").ok()


def test_a_signed_url_works_alone_and_a_changed_one_is_refused(project: Project) -> None:
    web(project, "signed_url").up().ok()
    out = secrets_of(project)
    url = signed(out, "/pictures/1.png?size=2")
    assert ask(url) == (200, "one /pictures/1.png size=2"), "the program sees nothing of the grant"
    assert ask(url.replace("1.png", "2.png"))[0] == 403
    assert ask(url.replace("size=2", "size=3"))[0] == 403
    assert ask(out["url"] + "/pictures/1.png?size=2")[0] == 401
    assert ask(out["url"], out["token"])[0] == 200, "such a pod takes tokens too"
    assert ask(out["url"], out["signing_key"])[0] == 401, "the key is no token"


def test_stopped_started_killed_and_put_right_the_token_is_the_same(project: Project) -> None:
    web(project).up().ok()
    out = secrets_of(project)
    web(project, desired_status="stopped").up().ok()
    assert secrets_of(project)["token"] == out["token"]
    assert project.drift().code == 0
    web(project).up().ok()
    assert ask(out["url"], out["token"])[0] == 200
    os.kill(project.pod_pid(out["id"]), signal.SIGKILL)
    wait_until(lambda: project.atlas.get_compute(out["id"]).status == "failed")
    project.refresh().ok()
    assert secrets_of(project)["token"] == out["token"]
    project.up("--refresh").ok()
    assert ask(out["url"], out["token"])[0] == 200
    assert ask(out["url"])[0] == 401
    assert secrets_of(project)["token"] == out["token"]


def test_a_replacement_has_a_token_of_its_own(project: Project) -> None:
    web(project).up().ok()
    out = secrets_of(project)
    project.up("--replace", project.resources()["web"]["urn"]).ok()
    after = secrets_of(project)
    assert after["id"] != out["id"] and after["token"] != out["token"]
    assert ask(after["url"], after["token"])[0] == 200
    assert ask(after["url"], out["token"])[0] == 401


def test_auth_is_added_switched_and_removed(project: Project) -> None:
    web(project, None).up().ok()
    assert "token" not in secrets_of(project)
    assert ask(secrets_of(project)["url"])[0] == 200
    web(project, "bearer").up().ok()
    first = secrets_of(project)
    assert (ask(first["url"])[0], ask(first["url"], first["token"])[0]) == (401, 200)
    web(project, "signed_url").up().ok()
    second = secrets_of(project)
    assert ask(first["url"], first["token"])[0] == 401
    assert ask(signed(second, "/x"))[0] == 200
    shown = web(project, None).preview().ok()
    assert "- auth" in shown.out
    project.up().ok()
    assert not {"token", "signing_key", "signing_kid"} & set(secrets_of(project))
    assert ask(first["url"])[0] == 200
    assert not {name for name in told(project, first["id"]) if name.startswith("ATLAS_TOKEN")}
    assert project.drift().code == 0


def test_a_verifier_that_was_changed_behind_pulumis_back_is_put_back(project: Project) -> None:
    web(project).up().ok()
    out = secrets_of(project)
    theirs = "atlas_" + "B" * 43
    record = Path(project.environ["ATLAS_LOCAL_DIR"]) / "pods" / out["id"] / "record.json"
    text = record.read_text()
    assert hash_token(out["token"]) in text
    record.write_text(text.replace(hash_token(out["token"]), hash_token(theirs)))
    with contextlib.chdir(project.folder):
        project.atlas.stop(out["id"])
        project.atlas.start(out["id"])
    wait_until(lambda: _answers(out["url"]))
    assert (ask(out["url"], theirs)[0], ask(out["url"], out["token"])[0]) == (200, 401)
    seen = project.drift()
    assert seen.code == 7 and 'auth: "bearer" => "bearer (changed)"' in seen.out, seen.out
    assert hash_token(theirs) not in seen.out
    project.refresh().ok()
    project.up().ok()
    assert (ask(out["url"], theirs)[0], ask(out["url"], out["token"])[0]) == (401, 200)
    assert secrets_of(project)["token"] == out["token"]
    assert project.drift().code == 0


@pytest.mark.parametrize("auth", ["bearer", "signed_url", "preshared"])
def test_the_pods_process_holds_only_what_verifies(project: Project, auth: str) -> None:
    web(project, auth).up().ok()
    out = secrets_of(project)
    env = told(project, out["id"])
    assert env["ATLAS_TOKEN_HASHES"] == hash_token(out["token"])
    holders = {name for name, value in env.items() if out["token"] in value}
    assert holders == ({"ATLAS_PRESHARED_KEY"} if auth == "preshared" else set())
    assert ask(out["url"], out["token"])[0] == 200


def test_what_is_generated_may_not_be_set(project: Project) -> None:
    project.program("""
        atlas.Pod("p", provider="local", command=["true"], auth="bearer",
                  env={"ATLAS_TOKEN_HASHES": "planted-value", "ATLAS_ORIGINS": "*"})
    """)
    shown = project.preview().failed()
    assert "env.ATLAS_TOKEN_HASHES: is generated because of auth=" in " ".join(shown.out.split())
    assert "planted-value" not in shown.out and "ATLAS_ORIGINS" not in shown.out


def test_a_read_pod_shows_no_token(project: Project) -> None:
    pod = project.atlas.spawn_compute(command=["sleep", "600"], auth="preshared")
    project.program(f"""
        seen = atlas.Pod.get("seen", "{pod.id}", provider="local")
        pulumi.export("status", seen.status)
        pulumi.export("token", seen.token)
    """).up().ok()
    assert secrets_of(project) == {"status": "running"}
    assert pod.auth is not None and pod.auth.token not in (project.pulumi("stack", "export", "--show-secrets").ok().out)


def _answers(url: str) -> bool:
    try:
        return ask(url)[0] > 0
    except OSError:
        return False
