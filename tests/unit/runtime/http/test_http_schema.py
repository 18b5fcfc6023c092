"""The published document and the application agree: schemathesis asks whatever the document allows, and what it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from http_kit import Stage, staged
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from pulumi_atlas.runtime.http.app import published
from pulumi_atlas.runtime.http.bounds import Bounds
from pulumi_atlas.runtime.http.roles import ROUTES

STREAMS = ("/v1/events", "/v1/sessions/{session_id}/events")
OPERATIONS = [(route.method, route.path) for route in ROUTES if route.path not in (*STREAMS, "/openapi.json")]
BOUNDED = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Running:
    """The application on a real port, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self._up.wait(60)

    async def _run(self) -> None:
        bounds = Bounds(keys_again_s=0.0)
        async with staged(self._folder, bounds=bounds) as self.stage, self.stage.served() as self.url:
            self.stage.companion.feed.close()
            await self._some(self.stage)
            self._up.set()
            await self._stop.wait()

    async def _some(self, stage: Stage) -> None:
        self.sessions = [
            (await stage.session(state, template="signed")).id
            for state in ("ready", "paused", "irrevocable", "terminated")
        ]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("served"))
    try:
        yield running
    finally:
        running.close()


#: Where what the document allows may still make no sense: which template there is, which cursor was given, what is signed.
SEMANTIC = {"POST /v1/sessions", "GET /v1/sessions", "POST /v1/sessions/{session_id}/signed-urls"}
#: Positive data may meet a session in another state, or one that is gone.
STATES = ["2xx", "401", "403", "404", "409", "410"]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_each_operation_keeps_the_document(method: str, path: str, served: Running) -> None:
    schema = schemathesis.openapi.from_dict(published())
    operation = schema[path][method]
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    schema.config.checks.positive_data_acceptance.expected_statuses = STATES
    excluded = [] if f"{method} {path}" not in SEMANTIC else [CHECKS.get_one("positive_data_acceptance")]
    turn = iter(range(10**9))

    @BOUNDED
    @given(strategies.one_of(modes))
    def check(case: schemathesis.Case) -> None:
        positive = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
        if "session_id" in case.path_parameters and positive:
            case.path_parameters["session_id"] = served.sessions[next(turn) % 4]
        key = served.stage.keys["admin"]
        case.call_and_validate(
            base_url=served.url, headers={"Authorization": f"Bearer {key}"}, excluded_checks=excluded, timeout=30
        )

    check()
