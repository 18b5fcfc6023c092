"""`atlas endpoints`: serverless endpoints."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _batch, _left, _options, _parse, _views
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Where, perform

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas
    from pulumi_atlas.models import EndpointHealth, ObservedEndpoint

__all__ = ["app"]

app = typer.Typer(help="Endpoints: a queue of jobs and the workers that serve it.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]


@app.command("list")
def list_(
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """List the account's endpoints."""
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    found = perform(out, where, lambda atlas: atlas.list_endpoints(), doing="listing endpoints")
    now = datetime.now(UTC)
    out.listing(
        found,
        [_views.endpoint(one, show_secrets=show_secrets) for one in found],
        lambda: out.table(
            _views.ENDPOINT_COLUMNS, [_views.endpoint_row(one, now) for one in found], none="no endpoints"
        ),
    )


@app.command("get")
def get(
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """Show one endpoint as it is now."""
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    _show(out, perform(out, where, lambda atlas: atlas.get_endpoint(ident), doing=f"looking at {ident}"))


@app.command("create", context_settings={"allow_interspersed_args": False})
def create(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A worker that speaks RunPod's protocol.")
    ] = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    name: _options.Name = None,
    handler: Annotated[
        str | None, typer.Option("--handler", metavar="MODULE:FUNCTION", help="A Python function as the worker.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="A container image as the worker.")
    ] = None,
    gpu: _options.Gpu = None,
    gpu_count: _options.Cards = None,
    min_workers: Annotated[
        int | None, typer.Option("--min", metavar="N", help="Workers that always run. Default: 0.")
    ] = None,
    max_workers: Annotated[int | None, typer.Option("--max", metavar="N", help="Workers at most. Default: 1.")] = None,
    idle_timeout: Annotated[
        str | None, typer.Option("--idle-timeout", metavar="TIME", help="An idle worker ends then. Default: 30s.")
    ] = None,
    env: _options.Env = None,
    working_dir: _options.WorkingDir = None,
    execution_timeout: Annotated[
        str | None, typer.Option("--execution-timeout", metavar="TIME", help="Bound of one run. Default: 10m.")
    ] = None,
    queue_ttl: Annotated[
        str | None, typer.Option("--queue-ttl", metavar="TIME", help="Bound of a job's life. Default: 1d.")
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option("--max-retries", metavar="N", help="New tries after a worker died. Default: 2.")
    ] = None,
    option: _options.Options = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """Make an endpoint; returns when it takes jobs.

    The worker is one of --handler, --image or COMMAND; put -- before COMMAND when in doubt.
    """
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    idle_timeout_s = _parse.duration_s(idle_timeout, "workers.idle_timeout_s")
    fields: dict[str, Any] = _parse.given(
        command=command,
        name=name,
        handler=handler,
        image=image,
        gpu=gpu,
        gpu_count=gpu_count,
        workers=_parse.given(min=min_workers, max=max_workers, idle_timeout_s=idle_timeout_s),
        env=_parse.environment(env or (), os.environ),
        working_dir=working_dir,
        execution_timeout_s=_parse.duration_s(execution_timeout, "execution_timeout_s"),
        queue_ttl_s=_parse.duration_s(queue_ttl, "queue_ttl_s"),
        max_retries=max_retries,
        provider_options=_parse.options(option or ()),
    )
    made = perform(
        out,
        where,
        lambda atlas: atlas.create_endpoint(**fields),
        doing=f"making {name or 'an endpoint'}",
        writes=True,
        left=lambda: _left.creation(where),
    )
    _show(out, made)


@app.command("delete")
def delete(
    ids: _options.Ids,
    provider: _options.Provider = None,
    account: _options.Account = None,
    yes: _options.Yes = False,
    as_json: _options.AsJson = False,
) -> None:
    """Delete endpoints with their workers; unfinished jobs are cancelled."""
    out, where = Out(json=as_json), Where(provider, account)
    what = ", ".join(dict.fromkeys(ids))
    _batch.confirm(
        f"Delete {what}? Unfinished jobs are cancelled.", yes=yes, nothing_else=f"this deletes {what} with its jobs"
    )

    async def act(atlas: AsyncAtlas, ident: str) -> None:
        await atlas.delete_endpoint(ident)

    look = f"atlas endpoints list {where.flags()}".rstrip()
    _batch.each(out, where, ids, act, noun="endpoint", doing="deleting", done="deleted", look=look)


@app.command("health")
def health(
    ident: _Id,
    provider: _options.Provider = None,
    account: _options.Account = None,
    as_json: _options.AsJson = False,
) -> None:
    """Count an endpoint's jobs and workers by state."""
    out, where = Out(json=as_json), Where(provider, account)
    seen = perform(out, where, lambda atlas: atlas.endpoint_health(ident), doing=f"looking at {ident}")
    out.result(seen.model_dump(mode="json"), lambda: _tell_health(out, seen))


def _tell_health(out: Out, seen: EndpointHealth) -> None:
    rows = [("jobs", state, str(number)) for state, number in seen.jobs.items()]
    rows += [("workers", state, str(number)) for state, number in seen.workers.items()]
    out.table(("WHAT", "STATE", "NUMBER"), rows, none="no jobs and no workers")


def _show(out: Out, thing: ObservedEndpoint) -> None:
    now, shown = datetime.now(UTC), out.show_secrets
    out.result(
        _views.endpoint(thing, show_secrets=shown),
        lambda: out.fields(_views.endpoint_fields(thing, now, show_secrets=shown)),
    )
