"""The first example from preview to destroy, on this computer, with the real engine; each claim is checked as it is made.

`make demo` runs it. Exit code 0 when every step was as it says; 1 at the first one that was not, 130 after Ctrl-C. In each
case nothing is left behind. Everything lives in one temporary folder: state, the engine's home, machines and intents.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pulumi_atlas import Atlas, AtlasError, Compute, engine, processes
from pulumi_atlas.client import IntentBook

EXAMPLE = Path(__file__).resolve().parent / "01-local-pod"
QUICK = ("--yes", "--skip-preview")
ESSENTIAL = re.compile(
    r"\s*([+~-] +pulumi-python:dynamic/atlas:\S+ \S+ (create|created|update|updated|delete|deleted)\b.*"
    r"|[+~-] \w+: .* => .*|[+~-] \d+ .*|\d+ unchanged)"
)
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotAsSaid(Exception):
    """A step did not show what it promised."""


class Demo:
    """One run in one temporary folder. `times` holds the seconds of each step."""

    def __init__(self, folder: Path) -> None:
        self.project, self.local, self.state = folder / "project", folder / "machines", folder / "atlas"
        shutil.copytree(EXAMPLE, self.project, ignore=shutil.ignore_patterns("__pycache__", ".*", "Pulumi.*.yaml"))
        for name in ("state", "home"):
            (folder / name).mkdir()
        found = engine.require()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "ATLAS_"))}
        self.environ = engine.command_environment(found, own, python=Path(sys.executable)) | {
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ATLAS_LOCAL_DIR": str(self.local),
            "ATLAS_STATE_DIR": str(self.state),
        }
        self.version = found.version
        self.atlas = Atlas("local", environ=self.environ, cwd=self.project)
        self.times: list[tuple[str, float]] = []
        self.seen: set[str] = set()
        self.said = ""
        self.running: subprocess.Popen[str] | None = None

    # ---- the story

    def tell(self) -> None:
        self.quietly("stack", "init", "dev")
        with self.step("preview", "Preview: the engine says what it would make, and makes nothing."):
            self.pulumi("preview")
            self.expect("+ 4 to create")
            expect(not self.atlas.list_compute(), "no pod yet", "a pod that a preview made")
        with self.step("up", "Up: a pod (serve.py) and an endpoint (shout.py) are made, as __main__.py declares them."):
            self.pulumi("up", *QUICK)
            self.expect("+ 4 created")
        outputs = json.loads(self.quietly("stack", "output", "--json", "--show-secrets"))
        with self.step("use", "Use: a request to the pod's page, and a job through the endpoint."):
            self.visit(outputs["page"])
            self.work(outputs["jobs"], outputs["key"])
        with self.step("kill", "Behind Pulumi's back the pod's process is killed."):
            self.kill(outputs["page"])
        with self.step("drift", "Refresh, looking only: what is there that the state does not know?"):
            self.pulumi("refresh", "--preview-only", "--expect-no-changes", "--diff", code=7)
            self.expect('~ desired_status: "running" => "failed"')
            self.expect("~ 1 to update")
            self.expect("3 unchanged")
            changes = re.findall(r"^ +[+~-]+ \w+: .*", self.said, re.M)
            expect(len(changes) == 1, "one changed property and no other", "\n".join(changes))
        with self.step("repair", "Up with --refresh: what was broken is mended, and nothing else is touched."):
            self.pulumi("up", "--refresh", *QUICK)
            self.expect("~ 1 updated")
            self.expect("3 unchanged")
            self.visit(outputs["page"])
        with self.step("destroy", "Destroy: all of it goes."):
            self.note()
            self.pulumi("destroy", *QUICK)
            self.expect("- 4 deleted")
        with self.step("proof", "Proof: nothing is left on this computer."):
            self.prove()

    def visit(self, page: str) -> None:
        answer = fetch(page)
        say(f"GET {page}")
        say(f"  → {answer}")
        expect(answer == "Hello from a pod", "'Hello from a pod'", repr(answer))

    def work(self, jobs: str, key: str) -> None:
        job = json.loads(fetch(f"{jobs}/runsync", {"input": {"text": "it works"}}, key))
        say(f'POST {jobs}/runsync {{"input": {{"text": "it works"}}}}')
        say(f"  → {job['status']} {json.dumps(job.get('output'))}")
        expect(job.get("output") == {"text": "IT WORKS!"}, '{"text": "IT WORKS!"}', json.dumps(job))
        try:
            fetch(f"{jobs}/runsync", {"input": {"text": "let me in"}})
        except urllib.error.HTTPError as refusal:
            say(f"  without the key → {refusal.code}")
            refusal.close()
            expect(refusal.code == 401, "401 without the key", str(refusal.code))
        else:
            raise NotAsSaid("expected: a refusal without the key\nseen:     an answer")

    def kill(self, page: str) -> None:
        pod = self.only_pod()
        pid = int(pod.raw["pid"])
        environment = processes.environment_of(pid)
        expect(environment.get("ATLAS_POD_ID") == pod.id, f"process {pid} to be pod {pod.id}", "another process")
        os.kill(pid, signal.SIGKILL)
        say(f"kill -9 {pid}")
        expect(until(lambda: self.only_pod().status == "failed"), "a pod that failed", self.only_pod().status)
        expect(not answers(page), "a page that no longer answers", "an answer")
        pod = self.only_pod()
        say(f"  → {pod.name}: {pod.status} ({pod.reason})" if pod.reason else f"  → {pod.name}: {pod.status}")

    def prove(self) -> None:
        expect(until(lambda: not self.survivors()), "no process", ", ".join(map(str, self.survivors())))
        say("processes: none")
        folders = [str(path) for kind in ("pods", "endpoints", "volumes") for path in self.local.glob(f"{kind}/*")]
        expect(not folders, "no folder of a pod, endpoint or volume", ", ".join(folders))
        say("folders:   none")
        intents = [f"{one.kind} {one.name}" for one in IntentBook(self.state).unclosed()]
        expect(not intents, "no open intent", ", ".join(intents))
        say("intents:   none open")

    # ---- how a step is told and checked

    @contextmanager
    def step(self, name: str, words: str) -> Iterator[None]:
        print(f"\n{len(self.times) + 1}. {words}", flush=True)
        began = time.monotonic()
        yield
        self.times.append((name, time.monotonic() - began))
        say(f"✓ {self.times[-1][1]:.1f} s")

    def expect(self, words: str) -> None:
        expect(words in self.said, f"'{words}' from the engine", self.said)

    def pulumi(self, *args: str, code: int = 0) -> None:
        """Run the engine, showing its essential lines as they come. Afterwards `said` holds all of them."""
        say(f"$ pulumi {' '.join(args)}")
        lines = []
        for line in self.run(*args, "--suppress-progress"):
            lines.append(line.rstrip())
            if ESSENTIAL.fullmatch(lines[-1]):
                say(f"  {lines[-1].strip()}")
        self.said = "\n".join(lines)
        expect(self.code == code, f"exit code {code} of `pulumi {args[0]}`", f"{self.code}\n{self.said}")

    def quietly(self, *args: str) -> str:
        said = "".join(self.run(*args))
        expect(self.code == 0, f"`pulumi {' '.join(args)}` to work", said)
        return said

    def run(self, *args: str) -> Iterator[str]:
        # A session of its own: Ctrl-C reaches this program alone, which then stops the engine the gentle way.
        command = ["pulumi", *args, "--non-interactive", "--color", "never"]
        self.running = subprocess.Popen(
            command, cwd=self.project, env=self.environ, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.running.stdout is not None
        yield from self.running.stdout
        self.running.stdout.close()
        self.code = self.running.wait()
        self.running = None

    def only_pod(self) -> Compute:
        pods = self.atlas.list_compute()
        expect(len(pods) == 1, "one pod", f"{len(pods)} pods")
        return pods[0]

    def note(self) -> None:
        """Remember what there is, so that its processes can be looked for when it should be gone."""
        self.seen |= {pod.id for pod in self.atlas.list_compute()}
        self.seen |= {endpoint.id for endpoint in self.atlas.list_endpoints()}

    def survivors(self) -> list[int]:
        """Pids of processes that belong to this run's folder, or to a pod or endpoint that it made."""
        found = {one.pid for one in processes.processes_with("ATLAS_LOCAL_DIR", str(self.local))}
        for ident in self.seen:
            for name in ("ATLAS_POD_ID", "ATLAS_ENDPOINT_ID"):
                found |= {one.pid for one in processes.processes_with(name, ident)}
        return sorted(found - {os.getpid()})

    # ---- after a failure

    def clean_up(self) -> None:
        """Leave nothing: first as a user would, then by hand."""
        self.stop_engine()
        with suppress(AtlasError):
            self.note()
        limit = threading.Timer(45, self.end_engine)
        limit.start()
        with suppress(NotAsSaid, OSError):
            self.quietly("destroy", *QUICK)
        limit.cancel()
        with suppress(AtlasError):
            for pod in self.atlas.list_compute():
                self.atlas.terminate(pod.id)
            for endpoint in self.atlas.list_endpoints():
                self.atlas.delete_endpoint(endpoint.id)
        if not until(lambda: not self.survivors()):
            for pid in self.survivors():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end_engine(self) -> None:
        if self.running is not None:
            self.running.kill()

    def stop_engine(self) -> None:
        """Interrupt a running engine: what it has begun is finished and stored. Its output is read on, or it would die."""
        if self.running is None:
            return
        self.running.send_signal(signal.SIGINT)
        try:
            self.running.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.running.kill()
        self.running = None


def expect(condition: bool, wanted: str, seen: str) -> None:
    if not condition:
        raise NotAsSaid(f"expected: {wanted}\nseen:     {seen}")


def fetch(url: str, body: Any = None, key: str | None = None) -> str:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    with NO_PROXY.open(urllib.request.Request(url, data, headers), timeout=20) as answer:
        text: str = answer.read().decode().strip()
        return text


def answers(url: str) -> bool:
    try:
        fetch(url)
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def say(line: str) -> None:
    print(f"   {line}", flush=True)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def attempt(folder: Path) -> int:
    demo = Demo(folder)
    print(
        f"A pod and an endpoint on this computer, declared in {EXAMPLE.name}/__main__.py. Engine: Pulumi {demo.version}."
    )
    print(f"State, machines and all else of this run live in {folder}, and go with it.")
    code = None
    try:
        demo.tell()
        code = 0
    except KeyboardInterrupt:
        code = complain("Stopped.", 130)
    except (NotAsSaid, AtlasError, OSError) as problem:
        code = complain(f"NOT AS SAID\n{words_of(problem)}", 1)
    finally:
        if code != 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            complain("Cleaning up …", 1)
            demo.clean_up()
            left = demo.survivors()
            complain(f"Still running: {left}" if left else "Nothing is left.", 1)
        demo.atlas.close()
    if code == 0:
        steps = " · ".join(f"{name} {seconds:.1f}" for name, seconds in demo.times)
        print(f"\nAll {len(demo.times)} steps were as said, in {sum(s for _, s in demo.times):.1f} s ({steps}).")
    return code


def words_of(problem: Exception) -> str:
    hint = getattr(problem, "hint", "")
    return f"{problem}\n{hint}" if hint else str(problem)


def complain(text: str, code: int) -> int:
    print(f"\n{text}", file=sys.stderr, flush=True)
    return code


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    with tempfile.TemporaryDirectory(prefix="atlas-demo-", ignore_cleanup_errors=True) as folder:
        try:
            return attempt(Path(folder).resolve())
        except AtlasError as problem:  # no engine
            print(words_of(problem), file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
