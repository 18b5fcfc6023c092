"""The process above a pod's command: starts it, keeps its output, enforces its limits, and notes how it ended.

Run as a file (``python -I -S _shim.py``), so standard library only. It reads its plan, one JSON object, from standard
input, detaches into a session of its own, and answers on standard output with ``{"pid": …}`` or ``{"error": …}``. From
then on it needs nobody: whoever started it may die. It holds no lock. In the pod's folder it writes

- ``claim-<run>.json`` before the command starts, in one step that fails when the file is there: the run was called off,
- ``command.json``: the pid of the command, which changes with ``on_exit="restart"``,
- ``stdout.log``, ``stderr.log``, and ``order.log``, which says in which order to read these two: each line ``o N`` or
  ``e N`` means "now up to byte N of stdout (stderr)", and what no line covers was written last,
- ``exit.json`` when all is over.

When the command ends, whatever it left behind is ended too, as in a container.
"""

# pathlib would be half of the time that this program takes to start:
# ruff: noqa: PTH105, PTH108, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time

_BLOCK = 65536
_LONGEST_BACKOFF_S = 30.0
_GOOD_RUN_S = 60.0
_LEFTOVER_GRACE_S = 1.0
_LONGEST_SLEEP_S = 30.0  # so that a deadline is noticed soon after the machine wakes up
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def now() -> float:
    """Seconds that never go back; on Linux they count the time asleep too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def prctl(option: int, value: int) -> bool:
    """Ask the Linux kernel; False where there is none."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


class Output:
    """The two logs and their order."""

    def __init__(self, folder: str) -> None:
        self.files: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.pipes: dict[int, str] = {}
        self.ends: dict[str, int] = {}
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.order = os.open(os.path.join(folder, "order.log"), flags, 0o600)
        for letter, name in (("o", "stdout.log"), ("e", "stderr.log")):
            self.files[letter] = os.open(os.path.join(folder, name), flags, 0o600)
            self.sizes[letter] = os.fstat(self.files[letter]).st_size
            read, self.ends[letter] = os.pipe()
            os.set_blocking(read, False)
            self.pipes[read] = letter
        self.last = ""
        self._note("o")
        self._note("e")

    def _note(self, letter: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.order, b"%s %d\n" % (letter.encode(), self.sizes[letter]))

    def take(self, pipe: int) -> bool:
        """Move what is waiting in one pipe to its log. A full disk loses output, never the command."""
        letter = self.pipes[pipe]
        try:
            data = os.read(pipe, _BLOCK)
        except OSError:
            return False
        if self.last and self.last != letter:
            self._note(self.last)
        self.last = letter
        while data:
            try:
                written = os.write(self.files[letter], data)
            except OSError:
                break
            self.sizes[letter] += written
            data = data[written:]
        return True

    def drain(self) -> None:
        """Move all that is waiting now."""
        for pipe in self.pipes:
            while self.take(pipe):
                pass


class Shim:
    """One run of a pod."""

    def __init__(self, plan: dict[str, object], answer: int, *, adopts: bool) -> None:
        self.plan = plan
        self.adopts = adopts
        self.answer = answer
        self.folder = str(plan["folder"])
        self.run = int(str(plan["run"]))
        self.argv = [os.fsencode(part) for part in plan["argv"]]  # type: ignore[attr-defined]
        self.env = {os.fsencode(k): os.fsencode(v) for k, v in plan["env"].items()}  # type: ignore[attr-defined]
        lifetime = plan["max_lifetime_s"]
        self.ends_at = None if lifetime is None else now() + float(str(lifetime))
        self.kill_at: float | None = None
        self.reason = ""
        self.main = 0
        self.status: int | None = None
        self.started = 0.0
        self.backoff = 1.0
        self.terminated = False
        self.wake, self.waker = os.pipe()

    # -- the course of a run ------------------------------------------------------------------------------------------

    def go(self) -> None:
        """From claim to exit note."""
        try:
            self.claim()
            self.output = Output(self.folder)
            self.reserve_note()
        except FileExistsError:
            return self.reply({"error": "this start was called off", "errno": errno.ECANCELED})
        except OSError as error:
            return self.reply({"error": f"{error.strerror}: {error.filename or self.folder}", "errno": error.errno})
        self.listen()
        failure = self.start()
        if failure:
            self.status, self.reason = 127, f"it could not be executed: {failure[1]}"
            self.note_exit()
            return self.reply({"error": failure[1], "errno": failure[0]})
        self.reply({"pid": self.main})
        while True:
            self.await_command()
            self.end_leftovers()
            if self.reason or self.terminated or self.plan["on_exit"] != "restart" or not self.again():
                break
        self.output.drain()
        self.note_exit()
        return None

    def claim(self) -> None:
        temporary = os.path.join(self.folder, f".claim-{self.run}.{os.getpid()}")
        with open(temporary, "x") as file:
            json.dump({"pid": os.getpid(), "run": self.run}, file)
        try:
            os.link(temporary, os.path.join(self.folder, f"claim-{self.run}.json"))
        finally:
            os.unlink(temporary)

    def reply(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            os.write(self.answer, json.dumps(message).encode())
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self.answer)
        os.close(null)

    def listen(self) -> None:
        for end in (self.wake, self.waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_term)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def on_term(self, *_: object) -> None:
        if not self.terminated:
            self.terminated = True
            self.kill_at = now() + self.grace()

    def grace(self) -> float:
        """Seconds between TERM and KILL as the record says now; it may have changed since the start."""
        try:
            with open(os.path.join(self.folder, "record.json"), "rb") as file:
                return float(json.load(file)["spec"]["provider_options"]["grace_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return float(str(self.plan["grace_s"]))

    def await_command(self) -> None:
        """Until the command has ended: keep its output, watch its limits."""
        forwarded = False
        while self.status is None:
            if self.terminated and not forwarded:
                forwarded = True
                self.signal_group(signal.SIGTERM)  # TERM may have come to this process alone
            if self.ends_at is not None and now() >= self.ends_at and not self.reason and not self.terminated:
                self.reason = "max_lifetime_s"
                self.kill_at = now() + self.grace()
                self.signal_group(signal.SIGTERM)
            if self.kill_at is not None and now() >= self.kill_at:
                self.kill_all()
            self.turn(self.next_deadline())

    def next_deadline(self) -> float:
        if self.kill_at is not None:
            return min(max(self.kill_at - now(), 0.05), 0.5)
        if self.ends_at is not None:
            return min(max(self.ends_at - now(), 0.0), _LONGEST_SLEEP_S)
        return _LONGEST_SLEEP_S

    def again(self) -> bool:
        """Start the command again after a pause that grows with each quick end. False when told to end meanwhile."""
        self.backoff = 1.0 if now() - self.started > _GOOD_RUN_S else self.backoff
        while True:
            until = now() + self.backoff
            self.backoff = min(self.backoff * 2 if self.backoff < 16 else _LONGEST_BACKOFF_S, _LONGEST_BACKOFF_S)
            while now() < until:
                if self.ends_at is not None and now() >= self.ends_at:
                    self.reason = "max_lifetime_s"
                if self.terminated or self.reason:
                    return False
                self.turn(min(until - now(), 1.0))
            if self.start() is None:
                return True

    def turn(self, timeout: float) -> None:
        """Wait for output, a child's end or a signal; take what is there."""
        try:
            ready, _, _ = select.select([self.wake, *self.output.pipes], [], [], max(timeout, 0.0))
        except InterruptedError:
            ready = []
        for end in ready:
            if end == self.wake:
                with contextlib.suppress(OSError):
                    os.read(self.wake, 4096)
            else:
                self.output.take(end)
        self.reap()

    def reap(self) -> bool:
        """Take in children that have ended. False when there are none at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.status = os.waitstatus_to_exitcode(status)

    # -- starting -----------------------------------------------------------------------------------------------------

    def start(self) -> tuple[int, str] | None:
        """Start the command. None, or the error number and a sentence when it could not be executed."""
        read, write = os.pipe()
        watched = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            self.become_command(parent, write, watched)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        os.close(write)
        self.main, self.status, self.started = child, None, now()
        failure = os.read(read, 4096)
        os.close(read)
        if failure:
            os.waitpid(child, 0)
            number, _, where = failure.decode(errors="replace").partition(" ")
            return int(number), f"{os.strerror(int(number))}: {where}"
        self.note_command()
        return None

    def become_command(self, parent: int, failures: int, blocked: set[signal.Signals]) -> None:
        place = str(self.plan["cwd"])
        try:
            for number in (
                signal.SIGTERM,
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGPIPE,
                signal.SIGCHLD,
                signal.SIGXFSZ,
            ):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(137)
            os.dup2(self.output.ends["o"], 1)
            os.dup2(self.output.ends["e"], 2)
            os.chdir(place)
            os.umask(int(str(self.plan["umask"])))
            place = str(self.plan["executable"])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
            os.execve(place, self.argv, self.env)
        except OSError as error:
            os.write(failures, f"{error.errno} {place}".encode(errors="replace"))
        finally:
            os._exit(127)

    def note_command(self) -> None:
        path = os.path.join(self.folder, "command.json")
        with contextlib.suppress(OSError):
            with open(path + ".tmp", "w") as file:
                json.dump({"run": self.run, "pid": self.main}, file)
            os.replace(path + ".tmp", path)

    # -- ending -------------------------------------------------------------------------------------------------------

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the whole group but this process."""
        previous = signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.killpg(0, number)
        signal.signal(number, previous)

    def end_leftovers(self) -> None:
        """End what the command has left behind: with the rest of a running grace, else within a second."""
        if not self.reap():
            return
        if self.kill_at is None:
            self.signal_group(signal.SIGTERM)
        for pid in descendants(others=True):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        until = self.kill_at if self.kill_at is not None else now() + min(self.grace(), _LEFTOVER_GRACE_S)
        give_up = max(until, now()) + 5.0
        while self.reap() and (descendants() or not self.adopts) and now() < give_up:
            if now() >= until:
                self.kill_all()
            self.turn(0.02)

    def kill_all(self) -> None:
        """KILL the command and everything else that is below this process or in its group."""
        victims = {self.main} if self.status is None else set()
        for pid in victims | set(descendants()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def reserve_note(self) -> None:
        """Take the room for the exit note now, because the disk may be full when it is written."""
        with open(self.note_path(), "wb") as file:
            file.write(b" " * 1024)
            file.flush()
            os.fsync(file.fileno())

    def note_path(self) -> str:
        return os.path.join(self.folder, f".exit-{self.run}.tmp")

    def note_exit(self) -> None:
        code = self.status
        note = {
            "run": self.run,
            "code": code,
            "signal": -code if code is not None and code < 0 else None,
            "ended_at": time.time(),
            "reason": self.reason or ("terminated" if self.terminated else ""),
        }
        with contextlib.suppress(OSError):  # the folder is gone: the pod was removed
            with open(self.note_path(), "r+b") as file:
                file.write(json.dumps(note).encode().ljust(1023) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(self.note_path(), os.path.join(self.folder, "exit.json"))
        if self.reap() or not self.adopts:  # without orphans coming here, the group is all that can be reached
            with contextlib.suppress(OSError):
                os.killpg(0, signal.SIGKILL)


def descendants(*, others: bool = False) -> list[int]:
    """Children, orphans that came here, and the group, by /proc; `others`: only those of other groups."""
    me, group, found = os.getpid(), os.getpgrp(), []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit() or int(name) == me:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
        except OSError:
            continue
        fields = text[text.rindex(b")") + 2 :].split()
        in_group = int(fields[2]) == group
        is_orphan = int(fields[1]) == me and not in_group and not belongs_elsewhere(name)
        if is_orphan or (in_group and not others):
            found.append(int(name))
    return found


def belongs_elsewhere(pid: str) -> bool:
    """Whether it is the process above another pod, or an endpoint's: the command has made it, and it outlives the command."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return False
    births = [one for one in variables if one.startswith(b"ATLAS_BIRTH=")]
    return bool(births) and births != [b"ATLAS_BIRTH=" + os.fsencode(os.environ.get("ATLAS_BIRTH", ""))]


def main() -> None:
    if os.fork():  # the starter waits for this one only, so that no zombie is left to it
        os._exit(0)
    os.setsid()
    raw = sys.stdin.buffer.read()
    if not raw.endswith(b"\n"):
        os._exit(1)  # the starter died before it had said all
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir("/")
    umask = os.umask(0o077)
    adopts = prctl(_PR_SET_CHILD_SUBREAPER, 1)
    Shim({**json.loads(raw), "umask": umask}, 1, adopts=adopts).go()


if __name__ == "__main__":
    main()
