"""`atlas jobs`: requests to endpoints."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _options, _parse, _views
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out, say_error
from pulumi_atlas.cli._session import Left, Where, perform
from pulumi_atlas.errors import Failure, InvalidSpec, TimedOut

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas
    from pulumi_atlas.models import Job

__all__ = ["app"]

app = typer.Typer(help="Jobs: requests to an endpoint.", no_args_is_help=True)

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.")]
_Id = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]

_WAIT_S = 600.0


@app.command("run")
def run(
    endpoint: _Endpoint,
    input_: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON", help="The job's input; @FILE, or - for standard input.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", show_default=False, help="Wait for the job's end. Default: no.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Bound of --wait; the job runs on. Default: 10m.")
    ] = None,
    execution_timeout: Annotated[
        str | None,
        typer.Option("--execution-timeout", metavar="TIME", help="Bound of its run. Default: the endpoint's."),
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="TIME", help="Bound of its whole life. Default: the endpoint's.")
    ] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Gets the job when it ends.")] = None,
    option: _options.Options = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Queue a job. With --wait, exit code 12 says that it ended other than completed."""
    out, where = Out(json=as_json), Where(provider, account)
    fields: dict[str, Any] = _parse.given(
        execution_timeout_s=_parse.duration_s(execution_timeout, "execution_timeout_s"),
        ttl_s=_parse.duration_s(ttl, "ttl_s"),
        webhook=webhook,
        provider_options=_parse.options(option or ()),
    )
    fields["input"] = _parse.as_json(input_, "input", _read)
    timeout_s = _parse.duration_s(timeout, "timeout") or _WAIT_S
    queued: list[str] = []

    async def work(atlas: AsyncAtlas) -> Job:
        job = await atlas.run_job(endpoint=endpoint, **fields)
        queued.append(job.id)
        return await _ended(atlas, job, timeout_s, where) if wait else job

    def left() -> Left:
        if not queued:
            return Left("whether the job was queued is not known")
        return Left(_runs_on(endpoint, queued[0], where), ({"kind": "job", "id": queued[0], "endpoint": endpoint},))

    job = perform(out, where, work, doing=f"running a job on {endpoint}", left=left)
    _show(out, job)
    if wait and job.status != "completed":
        if not as_json:
            say_error(f"job {job.id} is {job.status}")
        raise typer.Exit(Exit.JOB_FAILED)


@app.command("get")
def get(
    endpoint: _Endpoint,
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show a job as it is now. A failed job is an answer too: exit code 0."""
    out, where = Out(json=as_json), Where(provider, account)
    _show(out, perform(out, where, lambda a: a.get_job(ident, endpoint=endpoint), doing=f"looking at {ident}"))


@app.command("cancel")
def cancel(
    endpoint: _Endpoint,
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Cancel a job; one that has ended stays as it is."""
    out, where = Out(json=as_json), Where(provider, account)
    job = perform(
        out,
        where,
        lambda atlas: atlas.cancel_job(ident, endpoint=endpoint),
        doing=f"cancelling {ident}",
        writes=True,
        left=lambda: Left(f"whether job {ident} was cancelled is not known"),
    )
    _show(out, job)


@app.command("stream")
def stream(
    endpoint: _Endpoint,
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Print each chunk that the worker yields, as soon as it is there. With --json, one line of JSON for each."""
    out, where = Out(json=as_json, stream=True), Where(provider, account)

    async def read(atlas: AsyncAtlas) -> None:
        async for chunk in atlas.stream_job(ident, endpoint=endpoint):
            if as_json:
                out.document(chunk)
            else:
                out.line(_views.text_of(chunk))

    perform(out, where, read, left=lambda: Left(f"job {ident} is as it was; only the reading has ended"))


async def _ended(atlas: AsyncAtlas, job: Job, timeout_s: float, where: Where) -> Job:
    import asyncio

    from pulumi_atlas.rules.waiting import pause_s

    deadline, attempt, ident = time.monotonic() + timeout_s, 0, job.id
    while not job.is_final:
        if time.monotonic() >= deadline:
            raise TimedOut(
                f"job {ident} has not ended within {timeout_s:g} s",
                provider=job.provider,
                operation="run_job",
                hint=_runs_on(job.endpoint, ident, where),
            )
        await asyncio.sleep(pause_s(attempt))
        job, attempt = await atlas.get_job(ident, endpoint=job.endpoint), attempt + 1
    return job


def _runs_on(endpoint: str, ident: str, where: Where) -> str:
    rest = f"{endpoint} {ident} {where.flags()}".rstrip()
    return f"job {ident} runs on; `atlas jobs get {rest}` shows it, `atlas jobs cancel {rest}` ends it"


def _show(out: Out, job: Job) -> None:
    out.result(_views.job(job), lambda: out.fields(_views.job_fields(job)))


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidSpec([Failure("input", f"cannot read {source.lstrip('@')}: {why}")]) from None
