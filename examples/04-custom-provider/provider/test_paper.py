"""The provider does what the contract says: the suite that every provider of pulumi_atlas has to pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from paper_atlas import PaperProvider

from pulumi_atlas import ComputeSpec, files
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.testing.conformance import Harness, ProviderConformance


class PaperHarness(Harness):
    name: ClassVar[str] = "paper"

    def provider(self) -> PaperProvider:
        return _on(self.folder / "paper.json")

    def other_account(self) -> PaperProvider:
        return _on(self.folder / "other.json")

    def spec(self, **fields: Any) -> ComputeSpec:
        return ComputeSpec(**fields)

    def changed(self, field: str) -> Any:
        return ("draw", "a", "cat") if field == "command" else super().changed(field)

    def exists(self, pod_id: str) -> bool:
        return pod_id in (files.read_json(self.folder / "paper.json") or {})

    def remove(self, pod_id: str) -> None:
        sheet = files.read_json(self.folder / "paper.json")
        del sheet[pod_id]
        files.write_json(self.folder / "paper.json", sheet)

    def stop(self, pod_id: str) -> None:
        sheet = files.read_json(self.folder / "paper.json")
        sheet[pod_id]["status"] = "stopped"
        files.write_json(self.folder / "paper.json", sheet)


class TestPaper(ProviderConformance):
    harness_class = PaperHarness


def _on(file: Path) -> PaperProvider:
    return PaperProvider(Access("paper", settings={"file": str(file)}))
