"""A provider that breaks its contract: nothing it rented is forgotten, and nothing secret gets out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pulumi_atlas.client import IntentBook
from pulumi_atlas.errors import NotFound
from pulumi_atlas.ids import PodId, Tag
from pulumi_atlas.models import (
    Compute,
    ComputeSpec,
    EndpointSpec,
    Listing,
    ObservedEndpoint,
    ObservedVolume,
    VolumeSpec,
)
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.mock import MockProvider, World
from pulumi_atlas.resources import _process
from pulumi_atlas.resources._pod_life import PodLife
from tests.properties._engine import Engine, cloud

POD: dict[str, Any] = {"provider": "mock", "command": ["serve"]}
KEY = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA1\nq8zE7cXp0Yw==\n-----END KEY-----\n"


@pytest.fixture
def world() -> Iterator[World]:
    with cloud() as one:
        yield one


def serve_by(monkeypatch: pytest.MonkeyPatch, made: type[MockProvider]) -> None:
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: made if name == "mock" else load(name))


def notes() -> list[str]:
    return [intent.state for intent in book().unclosed()]


def book() -> IntentBook:
    return _process.core().book


class FailsAfterRenting(MockProvider):
    """The request is sent, and then the answer cannot be read."""

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        await super().create_compute(spec, tag)
        raise KeyError("hunter22")


class GivesNoId(MockProvider):
    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        return (await super().create_compute(spec, tag)).model_copy(update={"id": ""})


class GivesNothing(MockProvider):
    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Any:
        await super().create_compute(spec, tag)


class GivesGarbage(MockProvider):
    """A status that is no text breaks the wait, as a library's change of a field would."""

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        return (await super().create_compute(spec, tag)).model_copy(update={"status": "running", "ports": 7})


class FailsToStart(MockProvider):
    """The endpoint and the volume are there, cost money, and will never be of use."""

    async def create_endpoint(self, spec: EndpointSpec, tag: Tag) -> ObservedEndpoint:
        made = await super().create_endpoint(spec, tag)
        return made.model_copy(update={"status": "failed", "reason": "no such image"})

    async def create_volume(self, spec: VolumeSpec, tag: Tag) -> ObservedVolume:
        return (await super().create_volume(spec, tag)).model_copy(update={"status": "failed"})


class CannotList(FailsAfterRenting):
    async def list_compute(self, filters: Any) -> Any:
        raise TypeError("hunter22")


@pytest.mark.parametrize("made", [FailsAfterRenting, GivesNoId, GivesNothing, GivesGarbage])
def test_what_was_rented_before_the_provider_broke_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch, made: type[MockProvider]
) -> None:
    serve_by(monkeypatch, made)
    with pytest.raises(Exception, match=r"\[mock\] provider|unexpectedly") as caught:
        Engine("pod").made(POD)
    assert "hunter22" not in str(caught.value)
    assert world.pods == {}
    assert notes() == []


@pytest.mark.parametrize("kind", ["endpoint", "volume"])
def test_what_failed_before_it_was_usable_is_removed(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    serve_by(monkeypatch, FailsToStart)
    raw = {"provider": "mock", **({"handler": "app:run"} if kind == "endpoint" else {"size_gb": 1})}
    with pytest.raises(Exception, match=f"{kind} x failed before it was usable"):
        Engine(kind).made(raw)
    assert (world.endpoints, world.volumes, notes()) == ({}, {}, [])


def test_what_cannot_be_removed_stays_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_by(monkeypatch, CannotList)
    with pytest.raises(Exception, match=r"may cost money.*atlas doctor --recover"):
        Engine("pod").made(POD)
    assert len(world.pods) == 1
    assert notes() == ["open"]


def test_an_answer_that_the_engine_cannot_get_is_no_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next run would take the pod for one in the state, and rent another beside it."""
    monkeypatch.setattr(PodLife, "_observed", lambda *_: {}["url"])
    with pytest.raises(Exception, match="KeyError"):
        Engine("pod").made(POD)
    assert (world.pods, notes()) == ({}, [])
    world.fail_next("terminate", "provider")
    with pytest.raises(Exception, match="KeyError"):
        Engine("pod").made(POD)
    assert (len(world.pods), notes()) == (1, ["open"])


def test_a_secret_of_several_lines_is_not_shown_line_by_line(world: World) -> None:
    engine = Engine("pod")
    stored = engine.made({**POD, "env": {"KEY": KEY}, "timeouts": {"update_s": 0.2}})
    world.log(stored.ident, *KEY.splitlines())
    world.fail_next("start", "no_capacity")
    world.configure(provision_s=60)
    with pytest.raises(Exception, match="timeout") as caught:  # the log's last lines are those of the former run
        engine.changed(stored, {**POD, "env": {"KEY": "another"}, "timeouts": {"update_s": 0.2}})
    assert "[secret]" in str(caught.value)
    assert not any(line in str(caught.value) for line in KEY.splitlines() if len(line) > 5)


def test_a_pod_that_is_only_read_leaves_its_environment_out(world: World) -> None:
    """Its values are known to be secret in its owner's program alone."""
    stored = Engine("pod").made({**POD, "env": {"TOKEN": "hunter22"}})
    read = Engine("pod").provider.read(stored.ident, {"provider": "mock", "name": "x"})
    assert read.id == stored.ident
    assert "hunter22" not in str((read.outs, read.inputs))


class TellsNoAge(MockProvider):
    """Its listings may be wrong for half a minute, and it does not say when a thing was made."""

    listing_lag_s = 30.0

    async def create_compute(self, spec: ComputeSpec, tag: Tag) -> Compute:
        return (await super().create_compute(spec, tag)).model_copy(update={"created_at": None})

    async def list_compute(self, filters: Any) -> Listing[Compute]:
        return Listing((), (await super().list_compute(filters)).account)

    async def get_compute(self, pod_id: PodId) -> Compute:
        raise NotFound("not yet", provider="mock", hint="a word of the provider's own")


def test_a_young_thing_that_is_not_shown_yet_is_not_gone_without_a_date_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_by(monkeypatch, TellsNoAge)
    engine = Engine("pod")
    stored = engine.made(POD)
    with pytest.raises(Exception, match="nothing is taken as gone"):
        engine.refresh(stored)
