"""A cloud that repeats what it was sent: what is sealed in the store must not come back to it as a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from core_kit import Stage, install, play
from pydantic import ValidationError

from pulumi_atlas.errors import AtlasError, InsufficientFunds, NoCapacity, ProviderFailure, UnknownOutcome
from pulumi_atlas.models import Compute, ComputeSpec
from pulumi_atlas.models.session import SessionSpec
from pulumi_atlas.providers.mock import MockProvider

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize("kind", [ProviderFailure, InsufficientFunds, NoCapacity, UnknownOutcome])
def test_what_the_cloud_repeats_is_kept_out(
    kind: type[AtlasError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    class Talkative(MockProvider):
        async def create_compute(self, spec: ComputeSpec, tag: Any) -> Compute:
            seen.update(spec.env)
            raise kind(f"400: cannot make {dict(spec.env)} for {tag.birth}", provider="mock")

    stage = Stage(tmp_path)
    install(monkeypatch, stage, Talkative)

    async def act() -> None:
        opened = await stage.open(spec={"env": {"DB_PASSWORD": SECRET}, "ready": {"timeout_s": 60}})
        await stage.clock.advance(5)
        session = await stage.get(opened.session.id)
        assert "cannot make" in session.reason
        events = [str(one) for one in await stage.companion.store.events(after=0, limit=1000)]
        for text in (session.reason, *events):
            for secret in (SECRET, seen["ATLAS_GUARD_KEY"], seen["ATLAS_TOKEN_HASHES"]):
                assert secret not in text

    play(stage, act)
    stage.companion.feed.close()


@pytest.mark.parametrize("env", [{"A": [SECRET]}, {f"A={SECRET}": "b"}, SECRET])
def test_a_spec_that_is_none_repeats_nothing_of_itself(env: Any) -> None:
    """Its error reaches the log with the traceback, where nobody knows the value for a secret."""
    with pytest.raises(ValidationError) as caught:
        SessionSpec.model_validate({"provider": "mock", "env": env})
    assert "SessionSpec" in str(caught.value)
    if isinstance(env, str) or "A" in env:
        assert SECRET not in str(caught.value)
    else:  # a name is told
        assert "input_value" not in str(caught.value)
