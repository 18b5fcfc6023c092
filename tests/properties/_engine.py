"""A provider class of ours asked as the real engine asks it, in one process, over a mock world."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.models import EndpointArgs, PodArgs, VolumeArgs
from pulumi_atlas.providers.mock import World
from pulumi_atlas.resources.endpoint import _EndpointProvider
from pulumi_atlas.resources.fresh import fresh_process
from pulumi_atlas.resources.pod import _PodProvider
from pulumi_atlas.resources.volume import _VolumeProvider
from pulumi_atlas.rules.diff import same_meaning

CLASSES: dict[str, Any] = {
    "pod": (_PodProvider, PodArgs),
    "volume": (_VolumeProvider, VolumeArgs),
    "endpoint": (_EndpointProvider, EndpointArgs),
}


@dataclass
class Stored:
    """A resource as the engine keeps it."""

    ident: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Engine:
    """Asks a provider class what the real engine asks it, in its order, with its wire between."""

    def __init__(self, kind: str) -> None:
        made, self.model = CLASSES[kind]
        self.kind, self.provider = kind, made()

    def check(self, stored: Stored | None, raw: Mapping[str, Any]) -> dict[str, Any]:
        result = self.checked(stored, raw)
        assert not result.failures, [failure.reason for failure in result.failures]
        return wire(result.inputs)

    def checked(self, stored: Stored | None, raw: Mapping[str, Any]) -> Any:
        name = raw.get("name", "x")
        given = wire({"name": name, **raw, "owner": f"stack:5e1:{self.kind}::{name}", "birth": None, "__provider": "P"})
        return self.provider.check(dict(stored.inputs) if stored else {}, given)

    def diff(self, stored: Stored, inputs: Mapping[str, Any]) -> Any:
        return self.provider.diff(stored.ident, {**stored.outputs, "__provider": "P"}, dict(inputs))

    def create(self, inputs: dict[str, Any]) -> Stored:
        made = self.provider.create(dict(inputs))
        return Stored(str(made.id), inputs, wire(made.outs))

    def made(self, raw: Mapping[str, Any]) -> Stored:
        """Checked and created."""
        return self.create(self.check(None, raw))

    def changed(self, stored: Stored, raw: Mapping[str, Any]) -> Stored:
        """Checked and updated."""
        return self.update(stored, self.check(stored, raw))

    def update(self, stored: Stored, inputs: dict[str, Any]) -> Stored:
        outs = self.provider.update(stored.ident, {**stored.outputs, "__provider": "P"}, dict(inputs)).outs
        return Stored(stored.ident, inputs, wire(outs))

    def refresh(self, stored: Stored) -> Stored:
        read = self.provider.read(stored.ident, dict(stored.outputs))
        assert read.id == stored.ident, "it is there"
        return Stored(stored.ident, wire({**read.inputs, "__provider": "P"}), wire(read.outs))

    def unchanged(self, stored: Stored, raw: Mapping[str, Any]) -> bool:
        """Whether an `up` of the same program would leave it alone."""
        return self.diff(stored, self.check(stored, raw)).changes is False

    def same_inputs(self, left: Stored, right: Stored) -> bool:
        names = self.model.model_fields
        return all(same_meaning(self.model, n, left.inputs.get(n), right.inputs.get(n)) for n in names)


def wire(value: Any) -> Any:
    """As it arrives at the other end: numbers are floats, nulls of a mapping's top stay, tuples are lists."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple | Mapping):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Mapping):
        return {key: wire(inner) for key, inner in value.items()}
    return [wire(inner) for inner in value]


@contextlib.contextmanager
def cloud() -> Iterator[World]:
    """A mock world in a file of its own, whose time stands still, and a provider process of its own."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "world.json"
        patch.setenv("ATLAS_MOCK_FILE", str(file))
        patch.setenv("ATLAS_STATE_DIR", str(Path(folder) / "state"))
        patch.setenv("ATLAS_MOCK_PROVISION_S", "0")
        patch.setattr(os, "fsync", lambda descriptor: None)  # nobody pulls the plug here
        world = World.open(file)
        world.freeze()
        with fresh_process():
            yield world
