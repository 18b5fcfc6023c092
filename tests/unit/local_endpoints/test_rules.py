"""The laws of the queue and of scaling, tried with random histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.providers.local._supervisor._job import FINAL, Job
from pulumi_atlas.providers.local._supervisor._journal import Journal
from pulumi_atlas.providers.local._supervisor._queue import Counters, Queue
from pulumi_atlas.providers.local._supervisor._scaling import Backoff, Limits, View, plan

WORKERS = ["w-0", "w-1", "w-2"]


def job(name: str, now: float = 0.0, **fields: Any) -> Job:
    given = {"execution_timeout_s": 50.0, "ttl_s": 200.0, **fields}
    return Job(id=name, input={"name": name}, submitted=now, **given)


class QueueMachine(RuleBasedStateMachine):
    """Random callers, workers that take, finish, die and come too late, and a clock that goes on."""

    @initialize(max_retries=st.integers(0, 3))
    def begin(self, max_retries: int) -> None:
        self.queue = Queue(max_retries=max_retries, retention_s=1e9, sync_retention_s=1e9)
        self.now = 0.0
        self.submitted = 0
        self.final: dict[str, Job] = {}

    def any_job(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.queue.jobs)))

    @rule()
    def submit(self) -> None:
        self.queue.submit(job(f"j-{self.submitted:03}", self.now))
        self.submitted += 1

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        running = {j: w for w in WORKERS for j in self.queue.held_by(w)}
        for worker, job_id in self.queue.expire(self.now):
            assert running[job_id] == worker

    @rule(worker=st.sampled_from(WORKERS), count=st.integers(1, 3))
    def take(self, worker: str, count: int) -> None:
        waiting = self.queue.waiting
        taken = self.queue.take(worker, count, self.now)
        assert len(taken) == min(count, waiting)
        assert all(each.worker == worker and each.status == "IN_PROGRESS" for each in taken)

    @precondition(lambda self: self.queue.jobs)
    @rule(worker=st.sampled_from(WORKERS), data=st.data(), fails=st.booleans())
    def finish(self, worker: str, data: st.DataObject, fails: bool) -> None:
        job_id = self.any_job(data)
        before = self.queue.jobs[job_id]
        owned = self.queue.owns(worker, job_id)
        accepted = self.queue.finish(worker, job_id, self.now, output=1, error="bad" if fails else None)
        assert accepted == owned
        if not owned:
            assert self.queue.jobs[job_id] == before

    @precondition(lambda self: self.queue.jobs)
    @rule(worker=st.sampled_from(WORKERS), data=st.data())
    def chunk(self, worker: str, data: st.DataObject) -> None:
        job_id = self.any_job(data)
        end = self.queue.stream(job_id).end
        accepted = self.queue.chunk(worker, job_id, "x")
        assert accepted == self.queue.owns(worker, job_id)
        assert self.queue.stream(job_id).end == end + accepted

    @rule(worker=st.sampled_from(WORKERS), counted=st.booleans())
    def worker_is_lost(self, worker: str, counted: bool) -> None:
        held = self.queue.held_by(worker)
        before = {job_id: self.queue.jobs[job_id] for job_id in held}
        self.queue.release(worker, self.now, counted=counted, reason="gone")
        assert not self.queue.held_by(worker)
        for job_id in held:
            after = self.queue.jobs[job_id]
            if counted and before[job_id].deaths >= self.queue.max_retries:
                assert after.status == "FAILED" and "gone" in after.error
            else:
                assert after.status == "IN_QUEUE" and after.deaths == before[job_id].deaths + counted
        back = [j for j in held if self.queue.jobs[j].status == "IN_QUEUE"]
        assert list(self.queue._waiting)[: len(back)] == back

    @precondition(lambda self: self.queue.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = self.any_job(data)
        was_final = self.queue.jobs[job_id].is_final
        after = self.queue.cancel(job_id, self.now)
        assert was_final or after.status == "CANCELLED"

    @precondition(lambda self: self.queue.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id = self.any_job(data)
        could = self.queue.jobs[job_id].status in ("FAILED", "TIMED_OUT")
        again = self.queue.retry(job_id, self.now)
        assert (again is not None) == could
        if again is not None:
            self.final.pop(job_id, None)
            assert again.status == "IN_QUEUE" and again.output is None and again.input == {"name": job_id}

    @rule()
    def purge(self) -> None:
        waiting = self.queue.waiting
        assert self.queue.purge(self.now) == waiting
        assert self.queue.waiting == 0

    @rule()
    def restart(self) -> None:
        jobs = [Job.from_json(each.as_json()) for each in self.queue.jobs.values()]
        again = Queue(max_retries=self.queue.max_retries, retention_s=1e9, sync_retention_s=1e9)
        again.restore(jobs, {}, Counters(**self.queue.counters.as_json()))
        self.queue = again

    @invariant()
    def no_job_has_two_owners_or_none(self) -> None:
        if not hasattr(self, "queue"):
            return
        owners: dict[str, str] = {}
        for worker in WORKERS:
            for job_id in self.queue.held_by(worker):
                assert job_id not in owners
                owners[job_id] = worker
        running = {j.id: j.worker for j in self.queue.jobs.values() if j.status == "IN_PROGRESS"}
        assert running == owners
        assert set(self.queue._waiting) == {j.id for j in self.queue.jobs.values() if j.status == "IN_QUEUE"}

    @invariant()
    def final_jobs_stay_as_they_are(self) -> None:
        if not hasattr(self, "queue"):
            return
        for job_id, ended in self.final.items():
            assert self.queue.jobs[job_id] == ended
        self.final.update({j.id: j for j in self.queue.jobs.values() if j.is_final})

    @invariant()
    def the_counts_add_up(self) -> None:
        if not hasattr(self, "queue"):
            return
        counters = self.queue.counters
        ended = counters.completed + counters.failed + counters.cancelled + counters.timed_out
        assert ended == sum(j.status in FINAL for j in self.queue.jobs.values())
        assert ended + self.queue.waiting + self.queue.in_progress == self.submitted == len(self.queue.jobs)


TestQueue = QueueMachine.TestCase


@st.composite
def situations(draw: st.DrawFn) -> tuple[int, list[View], Limits, Backoff, float]:
    low = draw(st.integers(0, 5))
    limits = Limits(low, draw(st.integers(max(1, low), 8)), draw(st.floats(0.1, 100)))
    states = draw(st.lists(st.sampled_from(["starting", "idle", "running", "ending"]), max_size=12))
    now = draw(st.floats(0, 1000))
    views = [View(f"w-{n}", state, draw(st.floats(0, now))) for n, state in enumerate(states)]  # type: ignore[arg-type]
    backoff = Backoff(draw(st.integers(0, 5)), draw(st.floats(0, 2000)))
    return draw(st.integers(0, 20)), views, limits, backoff, now


@given(situations())
def test_scaling_keeps_its_bounds(situation: Any) -> None:
    waiting, views, limits, backoff, now = situation
    decision = plan(*situation)
    assert len(views) + decision.start <= max(limits.max, len(views))
    idle = {view.id for view in views if view.state == "idle"}
    assert set(decision.end) <= idle  # what works, starts or ends already is left alone
    alive = sum(view.state != "ending" for view in views)
    assert alive - len(decision.end) >= min(limits.min, alive)
    if decision.start:
        assert not decision.end or alive > limits.max
    if backoff.failures and now < backoff.until:
        assert decision.start == 0
    room = limits.max - len(views)
    if not backoff.failures and room > 0:
        assert decision.start >= min(room, limits.min - alive)
        if waiting and not idle and not any(view.state == "starting" for view in views):
            assert decision.start >= 1


@given(situations())
def test_scaling_comes_to_rest(situation: Any) -> None:
    """When what was decided has been done, and nothing else happens, nothing more is decided."""
    waiting, views, limits, _, now = situation
    views = [view for view in views if view.state != "ending"]
    decision = plan(waiting, views, limits, Backoff(), now)
    after = [view for view in views if view.id not in decision.end]
    after += [View(f"n-{n}", "starting") for n in range(decision.start)]
    again = plan(waiting, after, limits, Backoff(), now)
    if not decision.end:
        assert again.start == 0 and not again.end


def test_failures_are_answered_with_growing_pauses() -> None:
    backoff, now, pauses = Backoff(), 0.0, []
    for _ in range(9):
        backoff = backoff.after_failure(now)
        pauses.append(backoff.until - now)
        now = backoff.until
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0] and pauses[-1] == 30.0


def test_deadlines_cover_waiting_and_running() -> None:
    queue = Queue()
    queue.submit(job("waits", ttl_s=10))
    assert queue.expire(9.9) == [] and queue.expire(10) == []
    assert queue.jobs["waits"].status == "TIMED_OUT"
    queue.submit(job("runs", execution_timeout_s=5))
    queue.take("w", 1, 20)
    assert queue.expire(24.9) == [] and queue.expire(25) == [("w", "runs")]
    queue.submit(job("lives", ttl_s=10, now=30))
    queue.take("w", 1, 35)
    assert queue.expire(40) == [("w", "lives")]
    assert not queue.finish("w", "lives", 41, output=1)


def test_results_are_kept_as_long_as_said() -> None:
    queue = Queue(retention_s=100, sync_retention_s=10)
    for name, sync in (("a", False), ("s", True)):
        queue.submit(job(name, sync=sync))
        queue.take("w", 1, 0)
        queue.finish("w", name, 1.0, output=1)
    assert queue.forget(10.9) == [] and queue.forget(11) == ["s"] and queue.forget(101) == ["a"]
    assert not queue.jobs and not queue.streams


def test_chunks_of_a_lost_attempt_make_room_and_positions_go_on() -> None:
    queue = Queue()
    queue.submit(job("a"))
    queue.take("w", 1, 0)
    queue.chunk("w", "a", 1)
    queue.chunk("w", "a", 2)
    queue.release("w", 1, counted=True)
    queue.take("v", 1, 2)
    queue.chunk("v", "a", 1)
    stream = queue.stream("a")
    assert (stream.end, stream.after(0), stream.after(2), stream.after(3)) == (3, [1], [1], [])


def filled(path: Path) -> tuple[Queue, Journal]:
    queue, journal = Queue(), Journal(path)
    for name in ("done", "runs", "waits"):
        queue.submit(job(name, now=len(queue.jobs)))
    queue.take("w", 2, 5)
    queue.chunk("w", "done", "part")
    queue.finish("w", "done", 6, output={"a": 1})
    journal.append(queue, list(queue.changed))
    return queue, journal


@pytest.mark.parametrize("compacted", [False, True])
def test_the_journal_gives_back_what_was_written(tmp_path: Path, compacted: bool) -> None:
    queue, journal = filled(tmp_path / "jobs.jsonl")
    if compacted:
        journal.compact(queue)
    journal.close()
    again = Queue()
    Journal(tmp_path / "jobs.jsonl").load(again)
    assert again.jobs == queue.jobs and again.counters == queue.counters
    assert again.stream("done").chunks == ["part"]
    assert again.owners() == ("w",) and again.waiting == 1


def test_a_torn_last_line_costs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    queue, journal = filled(path)
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"id":"half","inp')
    again = Queue()
    Journal(path).load(again)
    assert again.jobs == queue.jobs


def test_forgotten_jobs_do_not_come_back(tmp_path: Path) -> None:
    queue, journal = filled(tmp_path / "jobs.jsonl")
    journal.forget(queue.forget(1e9))
    journal.close()
    again = Queue()
    Journal(tmp_path / "jobs.jsonl").load(again)
    assert set(again.jobs) == {"runs", "waits"}


def test_a_full_disk_refuses_new_jobs_and_keeps_the_old(tmp_path: Path) -> None:
    queue, journal = Queue(), Journal(Path("/dev/full"))
    queue.submit(job("a"))
    with pytest.raises(ProviderFailure, match="No space"):
        journal.append(queue, ["a"])
    assert journal.wants_compaction
    journal.close()
    queue.withdraw("a")
    assert queue.waiting == 0 and not queue.jobs
