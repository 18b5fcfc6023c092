"""The thread that reports activity to the companion and asks it what verifies visitors."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from atlas_session.guard._activity import Burst
from atlas_session.guard._gate import Gate, Reporter
from atlas_session.guard._plan import LOOK_S, Due, LinkPlan, retry_after_s
from atlas_session.guard._transport import Answer, NoAnswer, Transport, http_transport
from atlas_session.guard._verifier import parse_answer

__all__ = ["Link", "Silent", "reporter_for"]

_log = logging.getLogger("atlas_session.guard")

#: While the companion is away, that is said no more often, seconds.
_SAY_AGAIN_S = 60.0
#: Answers that say that a report will never be taken: it is dropped, so that the others go out.
_NEVER = frozenset({400, 413, 415, 422})
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,200}"')


class Silent:
    """For a guard without a companion."""

    def ensure_started(self) -> None:
        pass

    def stop(self) -> None:
        pass


def reporter_for(gate: Gate) -> Reporter:
    """What the settings ask for."""
    return Link(gate) if gate.settings.companion_url else Silent()


class Link:
    """`step` does the one thing that is due; a daemon thread calls it, one in each process that serves requests.

    While the companion is away, or answers what cannot be understood, the last verifier stays in force, for ever.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        transport: Transport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        settings = gate.settings
        self._gate = gate
        self._request = transport or http_transport(settings.companion_url or "")
        self._path = f"/v1/sessions/{quote(settings.session_id or '', safe='')}"
        self._key = settings.guard_key or ""
        self._monotonic = monotonic
        self._draw = draw
        self._plan = LinkPlan.begin(monotonic())
        self._batch: dict[str, Burst] = {}
        self._etag: str | None = None
        self._said_at: float | None = None
        self._process: int | None = None  # in which the thread runs
        self._owner: int | None = None  # whose the counts and connections are
        self._not_started: str | None = None
        self._stopping = threading.Event()

    # ---- one step

    def step(self) -> float:
        """Does what is due, if anything is. Returns the seconds until something may be due."""
        due = self._due()
        if due is not None:
            self._do(due)
        return self._plan.wait_s(self._monotonic(), waiting=self._is_waiting)

    def _due(self) -> Due | None:
        return self._plan.due(self._monotonic(), waiting=self._is_waiting)

    def _do(self, due: Due) -> None:
        if due == "poll":
            self._poll()
        else:
            self._report()

    @property
    def _is_waiting(self) -> bool:
        return bool(self._batch) or self._gate.activity.is_waiting

    def _poll(self) -> None:
        try:
            answer = self._ask("GET", "/verifier", {"If-None-Match": self._etag} if self._etag else {})
            poll_s = self._understand(answer)
        except (NoAnswer, ValueError) as error:
            self._failed("no verifier from the companion", error)
            self._plan = self._plan.poll_failed(self._monotonic(), self._draw())
        except _NotNow as error:
            self._failed("no verifier from the companion", error)
            self._plan = self._plan.poll_failed(self._monotonic(), self._draw(), retry_after_s=error.retry_after_s)
        else:
            self._answered()
            self._plan = self._plan.polled(self._monotonic(), poll_s=poll_s)

    def _understand(self, answer: Answer) -> float | None:
        """Puts an answer into force; how often to ask, where it says. Raises ValueError, _NotNow."""
        if _has_ended(answer):
            self._revoke()
            return None
        if answer.status == 304 and self._etag:
            return None
        if answer.status != 200:
            raise _NotNow(answer)
        verifier, poll_s = parse_answer(answer.body)
        if verifier.generation < self._gate.verifier.generation:
            raise ValueError("an older generation than the one in force")
        etag = answer.headers.get("etag", "")
        self._etag = etag if _ETAG.fullmatch(etag) else None
        if verifier != self._gate.verifier:
            _log.info(
                "generation %d verifies visitors%s", verifier.generation, ", or would: revoked" * verifier.revoked
            )
            self._gate.replace(verifier)
        return poll_s

    def _revoke(self) -> None:
        self._etag = None
        if not self._gate.verifier.revoked:
            _log.info("the session has ended; nobody is let in any more")
            self._gate.replace(replace(self._gate.verifier, revoked=True))

    def _report(self) -> None:
        """One kind of activity of the batch; a new batch when the last has gone out."""
        self._batch = self._batch or self._gate.activity.take()
        source, burst = next(iter(self._batch.items()))
        body = {"source": source, "idle_s": round(max(self._monotonic() - burst.last, 0.0), 3), "count": burst.times}
        try:
            answer = self._ask("POST", "/touch", {"Content-Type": "application/json"}, json.dumps(body).encode())
            self._accept(answer, source)
        except (NoAnswer, _NotNow) as error:
            self._failed("activity not reported", error)
            self._gate.activity.give_back(self._batch)
            self._batch = {}
            after = error.retry_after_s if isinstance(error, _NotNow) else None
            self._plan = self._plan.report_failed(self._monotonic(), self._draw(), retry_after_s=after)
        else:
            del self._batch[source]
            self._plan = self._plan.reported(self._monotonic(), more=bool(self._batch))

    def _accept(self, answer: Answer, source: str) -> None:
        """Raises _NotNow when the report is to go out again."""
        if _has_ended(answer):
            self._revoke()
        elif answer.status in _NEVER and _is_problem(answer):
            _log.warning("the companion does not take activity of the kind %s (%d)", source, answer.status)
        elif not 200 <= answer.status < 300:
            raise _NotNow(answer)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json", **headers}
        return self._request(method, self._path + path, headers, body)

    def _failed(self, what: str, error: Exception) -> None:
        now = self._monotonic()
        if self._said_at is None or now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            _log.warning("%s (%s); visitors are let in as before", what, error)

    def _answered(self) -> None:
        if self._said_at is not None:
            self._said_at = None
            _log.info("the companion answers again")

    # ---- the thread

    def ensure_started(self) -> None:
        """Starts the thread, once in each process: a forked worker has none of its parent's threads."""
        process = os.getpid()
        if self._process == process:
            return
        with _starting:
            if self._process == process:
                return
            if self._owner not in (None, process):
                self._gate.forked()
                self._batch = {}
            self._owner = process
            self._plan = LinkPlan.begin(self._monotonic())
            self._stopping = threading.Event()
            if self._start(self._stopping):
                self._process = process

    def _start(self, stopping: threading.Event) -> bool:
        """Whether the thread started. Where there is no room for one, the next request tries again."""
        try:
            threading.Thread(target=self._run, args=(stopping,), name="atlas-guard", daemon=True).start()
        except RuntimeError as error:
            if str(error) != self._not_started:
                self._not_started = str(error)
                _log.error("the link to the companion did not start (%s); visitors are let in as before", error)
            return False
        self._not_started = None
        return True

    def stop(self) -> None:
        """Ends the thread, which reports what is left first. Does not wait for it; a request would start it again."""
        with _starting:
            self._process = None
            self._stopping.set()

    def _run(self, stopping: threading.Event) -> None:
        wait_s = 0.0
        while not stopping.wait(wait_s):
            wait_s = self._safe_step()
        while self._is_waiting and self._plan.report_failures == 0:
            self._safely("report")

    def _safe_step(self) -> float:
        due = self._due()
        if due is not None and not self._safely(due):
            return LOOK_S
        return self._plan.wait_s(self._monotonic(), waiting=self._is_waiting)

    def _safely(self, due: Due) -> bool:
        """Whether it was done. A mistake counts as a failure: what is due next must not wait for it for ever."""
        try:
            self._do(due)
        except Exception:  # noqa: BLE001 (the thread must not die: revocation depends on it)
            _log.exception("the guard's link to the companion made a mistake")
            failed = self._plan.poll_failed if due == "poll" else self._plan.report_failed
            self._plan = failed(self._monotonic(), self._draw())
            return False
        return True


def _has_ended(answer: Answer) -> bool:
    return answer.status == 410 and _is_problem(answer)


def _is_problem(answer: Answer) -> bool:
    """Whether it is the companion's own; the page of a gateway before it says nothing about the session."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/problem+json"


class _NotNow(Exception):
    """An answer that settles nothing."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"it answered {answer.status}")
        self.retry_after_s = retry_after_s(answer.headers)


_starting = threading.Lock()


def _renew_lock() -> None:
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
