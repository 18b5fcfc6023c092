"""The queue on disk: JSON lines that are appended at each change and rewritten when most of them are history.

A line that was written survives the supervisor's death. It is not synced one by one: a crash of the whole machine ends
the endpoint's workers too, and may cost the last moments. A torn last line (killed in mid-write) is passed over.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from pulumi_atlas import files
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.providers.local._supervisor._job import Job
from pulumi_atlas.providers.local._supervisor._queue import Counters, Queue

__all__ = ["Journal"]

_HISTORY_LINES = 2_000
_HISTORY_BYTES = 64_000_000
_BULKY = ("input", "extras")


class Journal:
    """One file; one writer. `append` and `compact` raise ProviderFailure when they cannot write; nothing is lost then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[str] = set()
        self._lines = 0
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._torn = False

    def load(self, queue: Queue) -> None:
        """Fill an empty queue with what an earlier supervisor wrote down."""
        jobs: dict[str, dict[str, Any]] = {}
        chunks: dict[str, list[Any]] = {}
        counters: dict[str, int] = {}
        for entry in self._entries():
            if "counters" in entry:
                counters = entry["counters"]
            elif "gone" in entry:
                for job_id in entry["gone"]:
                    jobs.pop(job_id, None)
                    chunks.pop(job_id, None)
            elif "id" in entry:
                jobs[entry["id"]] = {**jobs.get(entry["id"], {}), **entry}
                if "chunks" in entry:
                    chunks[entry["id"]] = jobs[entry["id"]].pop("chunks")
        whole = []
        for fields in jobs.values():
            with contextlib.suppress(TypeError):  # its first line was lost
                whole.append(Job.from_json(fields))
        queue.restore(sorted(whole, key=lambda job: job.submitted), chunks, Counters(**counters))

    def append(self, queue: Queue, job_ids: Iterable[str]) -> None:
        """Write down these jobs as they are now, and the counters."""
        lines = [_line(queue, job_id, first=job_id not in self._known) for job_id in job_ids if job_id in queue.jobs]
        if lines:
            self._write([*lines, _dump({"counters": queue.counters.as_json()})])
            self._known.update(job_id for job_id in job_ids if job_id in queue.jobs)

    def forget(self, job_ids: list[str]) -> None:
        if job_ids:
            self._write([_dump({"gone": job_ids})])
            self._known.difference_update(job_ids)

    @property
    def wants_compaction(self) -> bool:
        return self._torn or self._lines > _HISTORY_LINES + 4 * len(self._known) or self._bytes > _HISTORY_BYTES

    def compact(self, queue: Queue) -> None:
        """Rewrite the file with the present state alone, whole or not at all."""
        lines = [_dump({"counters": queue.counters.as_json()})]
        lines += [_line(queue, job_id, first=True) for job_id in queue.jobs]
        content = b"".join(lines)
        files.write_atomically(self.path, content)
        self.close()
        self._known = set(queue.jobs)
        self._lines, self._bytes, self._torn = 0, 0, False

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _write(self, lines: list[bytes]) -> None:
        content = b"".join(lines)
        try:
            if self._file is None:
                self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", 0)
            if self._file.write(b"\n" + content if self._torn else content) < len(content):
                raise OSError("the disk took only a part")
        except OSError as error:
            self._torn = True
            raise ProviderFailure(f"cannot write {self.path}: {error.strerror or error}") from error
        self._lines += len(lines)
        self._bytes += len(content)

    def _entries(self) -> Iterable[dict[str, Any]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        for line in content.split(b"\n"):
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def _line(queue: Queue, job_id: str, *, first: bool) -> bytes:
    job = queue.jobs[job_id]
    fields = job.as_json()
    if not first:
        fields = {name: value for name, value in fields.items() if name not in _BULKY}
    if job.is_final and job_id in queue.streams:
        fields["chunks"] = queue.streams[job_id].chunks
    return _dump(fields)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
