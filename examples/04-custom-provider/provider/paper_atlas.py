"""A whole provider: machines on paper, that is, entries of one JSON file (`PAPER_FILE`, else ./paper.json).

Three habits are worth copying: every error is one of `pulumi_atlas.errors`, every machine carries its tag (birth and
owner), and optional abilities are simply methods (`stop`, `start`, `update_compute`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from pulumi_atlas import Compute, ComputeSpec, files
from pulumi_atlas.errors import Failure, InvalidSpec, NotFound
from pulumi_atlas.ids import Owner, PodId, Tag
from pulumi_atlas.models import ComputeFilter, Listing
from pulumi_atlas.providers.contract import Access, Change


class PaperProvider:
    """Machines on paper. They cost nothing and do nothing, and are never lost: several processes may write at once."""

    name: ClassVar[str] = "paper"
    accepts: ClassVar[frozenset[str]] = frozenset({"name", "command", "env"})
    endpoint_accepts: ClassVar[frozenset[str]] = frozenset()
    reasons: ClassVar[Mapping[str, str]] = {
        "gpu": "nobody has drawn a GPU on paper yet",
        "ports": "paper does not answer",
    }
    listing_lag_s: ClassVar[float] = 0.0
    key_variable: ClassVar[str | None] = None
    compute_changes: ClassVar[Mapping[str, Change]] = {"name": "in_place", "env": "in_place", "command": "restart"}

    def __init__(self, access: Access) -> None:
        named = access.environ.get("PAPER_FILE") or access.settings.get("file") or "paper.json"
        self._file = Path(str(named)).absolute()

    async def identity(self) -> str:
        return f"paper:{self._file}"

    async def aclose(self) -> None:
        return None

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        _check(spec, "create_compute")
        ident = f"paper-{secrets.token_hex(4)}"
        with self._sheet() as sheet:
            sheet[ident] = {
                "spec": spec.model_dump(mode="json", exclude_defaults=True),
                "status": "running",
                "birth": tag.birth,
                "owner": str(tag.owner),
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            return self._observe(ident, sheet[ident])

    async def get_compute(self, pod_id: PodId) -> Compute:
        with self._sheet() as sheet:
            return self._observe(pod_id, self._row(sheet, pod_id, "get_compute"))

    async def list_compute(self, filters: ComputeFilter) -> Listing[Compute]:
        with self._sheet() as sheet:
            pods = [self._observe(ident, row) for ident, row in sheet.items()]
        return Listing(tuple(pod for pod in pods if filters.matches(pod)), await self.identity())

    async def terminate(self, pod_id: PodId) -> None:
        with self._sheet() as sheet:
            self._row(sheet, pod_id, "terminate")
            del sheet[pod_id]

    # Optional abilities: pods can be stopped and started, and changed without making them anew.

    async def stop(self, pod_id: PodId) -> None:
        with self._sheet() as sheet:
            self._row(sheet, pod_id, "stop")["status"] = "stopped"

    async def start(self, pod_id: PodId) -> None:
        with self._sheet() as sheet:
            self._row(sheet, pod_id, "start")["status"] = "running"

    async def update_compute(self, pod_id: PodId, spec: ComputeSpec, *, restart: bool) -> Compute:
        _check(spec, "update_compute")
        with self._sheet() as sheet:
            row = self._row(sheet, pod_id, "update_compute")
            row["spec"] = spec.model_dump(mode="json", exclude_defaults=True)
            return self._observe(pod_id, row)

    def _row(self, sheet: dict[str, Any], pod_id: str, operation: str) -> dict[str, Any]:
        if pod_id not in sheet:
            hint = "`atlas compute list --provider paper` shows what there is"
            raise NotFound(f"there is no {pod_id} on this paper", provider=self.name, operation=operation, hint=hint)
        row: dict[str, Any] = sheet[pod_id]
        return row

    def _observe(self, ident: str, row: Mapping[str, Any]) -> Compute:
        spec = ComputeSpec.model_validate(row["spec"])
        return Compute(
            id=ident,
            provider=self.name,
            account=f"paper:{self._file}",
            status=row["status"],
            name=spec.name,
            spec=spec,
            birth=row["birth"],
            owner=Owner.parse(row["owner"]),
            cost_per_hour=0.0,
            created_at=row["created_at"],
            raw={"status": row["status"]},  # never the environment: secrets are in it
        )

    @contextmanager
    def _sheet(self) -> Iterator[dict[str, Any]]:
        """The file's content under a lock; what was changed is written back whole, or not at all."""
        files.make_private_folder(self._file.parent)
        with files.locked(self._file.with_suffix(".lock")):
            before = files.read_json(self._file) or {}
            sheet = {ident: dict(row) for ident, row in before.items()}
            yield sheet
            if sheet != before:
                files.write_json(self._file, sheet)


def _check(spec: ComputeSpec, operation: str) -> None:
    """What the general validation cannot know: this cloud has no options of its own."""
    failures = [Failure(f"provider_options.{name}", "there is no such option") for name in spec.provider_options]
    if failures:
        raise InvalidSpec(failures, provider=PaperProvider.name, operation=operation)
