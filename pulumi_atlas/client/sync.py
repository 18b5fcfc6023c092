"""The synchronous face: the same verbs, run on the process's background loop."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from pulumi_atlas.client import loop
from pulumi_atlas.client.aio import AsyncAtlas
from pulumi_atlas.ids import Owner

__all__ = ["Atlas"]

P = ParamSpec("P")
R = TypeVar("R")

_END = object()


def _sync(verb: Callable[Concatenate[AsyncAtlas, P], Awaitable[R]]) -> Callable[Concatenate[Atlas, P], R]:
    @functools.wraps(verb)
    def call(self: Atlas, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async def work() -> R:
            return await verb(self._face, *args, **kwargs)

        return loop.run(work())

    return cast("Callable[Concatenate[Atlas, P], R]", call)


def _iterate(
    verb: Callable[Concatenate[AsyncAtlas, P], AsyncIterator[R]],
) -> Callable[Concatenate[Atlas, P], Iterator[R]]:
    @functools.wraps(verb)
    def call(self: Atlas, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        source = verb(self._face, *args, **kwargs)
        try:
            while (item := loop.run(_next(source))) is not _END:
                yield cast(R, item)
        finally:
            loop.run(_close(source))

    return cast("Callable[Concatenate[Atlas, P], Iterator[R]]", call)


async def _next(source: AsyncIterator[R]) -> R | object:
    return await anext(source, _END)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


class Atlas:
    """The verbs over all providers, for synchronous code; see `AsyncAtlas` for what each does.

    May be used from several threads at once.
    """

    def __init__(
        self,
        provider: str | None = None,
        *,
        account: str | None = None,
        api_key: str | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        owner: Owner | None = None,
    ) -> None:
        self._face = AsyncAtlas(provider, account=account, api_key=api_key, environ=environ, cwd=cwd, owner=owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        loop.run(self._face.aclose())

    def capabilities(self, provider: str | None = None) -> tuple[str, ...]:
        """The provider's optional abilities, derived from its class; sends nothing."""
        return self._face.capabilities(provider)

    spawn_compute = _sync(AsyncAtlas.spawn_compute)
    get_compute = _sync(AsyncAtlas.get_compute)
    list_compute = _sync(AsyncAtlas.list_compute)
    stop = _sync(AsyncAtlas.stop)
    start = _sync(AsyncAtlas.start)
    terminate = _sync(AsyncAtlas.terminate)
    logs = _iterate(AsyncAtlas.logs)
    run_job = _sync(AsyncAtlas.run_job)
    get_job = _sync(AsyncAtlas.get_job)
    cancel_job = _sync(AsyncAtlas.cancel_job)
    stream_job = _iterate(AsyncAtlas.stream_job)
    endpoint_health = _sync(AsyncAtlas.endpoint_health)
    list_gpu_types = _sync(AsyncAtlas.list_gpu_types)
    create_volume = _sync(AsyncAtlas.create_volume)
    get_volume = _sync(AsyncAtlas.get_volume)
    list_volumes = _sync(AsyncAtlas.list_volumes)
    delete_volume = _sync(AsyncAtlas.delete_volume)
    create_endpoint = _sync(AsyncAtlas.create_endpoint)
    get_endpoint = _sync(AsyncAtlas.get_endpoint)
    list_endpoints = _sync(AsyncAtlas.list_endpoints)
    delete_endpoint = _sync(AsyncAtlas.delete_endpoint)
