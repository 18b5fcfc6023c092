"""Errors: one tree, saying who failed at what; an outage is never "gone"; and no secret in anything that is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pulumi_atlas.errors import AtlasError, NotFound
from pulumi_atlas.models import ComputeFilter
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["ErrorConformance"]

_STRANGE = ("no such thing", "../../etc/passwd", "a/b", "%2e%2e", "x" * 300, "ünïcode", "-rf", "null\x00byte")
_SECRET = "s3cr3t-planted-value-0451"


class ErrorConformance(Suite):
    """What goes wrong, and what may be shown."""

    @story
    async def test_any_id_that_stands_for_nothing_raises_not_found(self, stage: Stage) -> None:
        for ident in (*_STRANGE, stage.harness.missing_id):
            for name, call in _by_pod(stage).items():
                with pytest.raises(NotFound) as caught:
                    await call(ident)
                _well_formed(stage, caught.value, name)

    @story
    async def test_the_id_of_what_was_terminated_raises_not_found_or_shows_it_as_terminated(self, stage: Stage) -> None:
        pod = await stage.running()
        await stage.provider.terminate(pod.id)
        await stage.is_gone(pod.id)
        try:
            assert (await stage.provider.get_compute(pod.id)).status == "terminated"
        except NotFound as error:
            _well_formed(stage, error, "get_compute")

    @story
    async def test_an_outage_is_an_error_and_never_not_found(self, stage: Stage) -> None:
        pod = await stage.running()
        with stage.harness.unreachable():
            for name, call in {**_by_pod(stage), **_of_all(stage)}.items():
                with pytest.raises(AtlasError) as caught:
                    await call(pod.id)
                assert not isinstance(caught.value, NotFound), name
                _well_formed(stage, caught.value, name)
        assert (await stage.provider.get_compute(pod.id)).status == "running"

    @story
    async def test_a_create_in_an_outage_leaves_nothing(self, stage: Stage) -> None:
        tag = stage.tag()
        with stage.harness.unreachable(), pytest.raises(AtlasError) as caught:
            await stage.provider.create_compute(stage.harness.spec(), tag)
        _well_formed(stage, caught.value, "create_compute")
        if caught.value.kind != "unknown_outcome":
            assert tag.birth not in {pod.birth for pod in await stage.listed()}

    @story
    async def test_no_secret_shows_in_what_is_observed(self, stage: Stage) -> None:
        if "env" not in stage.provider.accepts:
            pytest.skip(f"{stage.harness.name} does not accept env")
        pod = await stage.running(env={"TOKEN": _SECRET})
        await stage.appears(pod.id)
        seen = [pod, await stage.provider.get_compute(pod.id), *await stage.listed()]
        for thing in seen:
            _holds_no_secret(stage, json.dumps(thing.raw, default=str))
            _holds_no_secret(stage, repr(thing))
        _holds_no_secret(stage, repr(stage.provider) + repr(vars(stage.provider)))
        _holds_no_secret(stage, await stage.provider.identity())

    @story
    async def test_no_secret_shows_in_errors(self, stage: Stage) -> None:
        if "env" not in stage.provider.accepts:
            pytest.skip(f"{stage.harness.name} does not accept env")
        spec = stage.harness.spec(env={"TOKEN": _SECRET, "BAD": f"{_SECRET}\x00"}, provider_options={"no_such": 1})
        with pytest.raises(AtlasError) as caught:
            await stage.provider.create_compute(spec, stage.tag())
        _holds_no_secret(stage, f"{caught.value} {caught.value!r} {caught.value.hint} {caught.value.as_json()}")

    @story
    async def test_a_pod_with_an_option_that_is_not_known_is_refused_and_nothing_is_rented(self, stage: Stage) -> None:
        tag = stage.tag()
        with pytest.raises(AtlasError) as caught:
            await stage.provider.create_compute(stage.harness.spec(provider_options={"no_such_option": 1}), tag)
        assert caught.value.kind == "validation"
        _well_formed(stage, caught.value, "create_compute")
        assert tag.birth not in {pod.birth for pod in await stage.listed()}

    @story
    async def test_an_instance_can_be_closed_twice(self, stage: Stage) -> None:
        other = stage.another()
        await other.list_compute(ComputeFilter())
        await other.aclose()
        await other.aclose()


def _by_pod(stage: Stage) -> dict[str, Callable[[Any], Any]]:
    provider = stage.provider
    calls: dict[str, Callable[[Any], Any]] = {"get_compute": provider.get_compute, "terminate": provider.terminate}
    if stage.has("stop"):
        calls |= {"stop": provider.stop, "start": provider.start}
    if stage.has("update"):
        spec = stage.harness.spec()
        calls["update_compute"] = lambda ident: provider.update_compute(ident, spec, restart=True)
    if stage.has("logs"):
        calls["logs"] = lambda ident: anext(provider.logs(ident), None)
    return calls


def _of_all(stage: Stage) -> dict[str, Callable[[Any], Any]]:
    provider = stage.provider
    calls: dict[str, Callable[[Any], Any]] = {"list_compute": lambda _: provider.list_compute(ComputeFilter())}
    if stage.has("volumes"):
        calls |= {"list_volumes": lambda _: provider.list_volumes(), "get_volume": provider.get_volume}
    if stage.has("endpoints"):
        calls |= {"list_endpoints": lambda _: provider.list_endpoints(), "get_endpoint": provider.get_endpoint}
    return calls


def _well_formed(stage: Stage, error: AtlasError, operation: str) -> None:
    assert error.provider == stage.harness.name, error
    assert error.operation == operation, f"{error.operation} is not {operation}: {error}"
    assert error.message
    assert "\n" not in error.one_line()


def _holds_no_secret(stage: Stage, text: str) -> None:
    assert _SECRET not in text
    if stage.harness.key:
        assert stage.harness.key not in text
