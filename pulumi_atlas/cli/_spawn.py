"""`atlas compute spawn`, and how a pod is shown."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_atlas.cli import _left, _options, _parse, _views
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Where, perform

if TYPE_CHECKING:
    from pulumi_atlas.models import Compute

__all__ = ["show", "spawn"]

_TIMEOUT_S = 600.0


def spawn(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="What runs in the pod; no shell is added.")
    ] = None,
    provider: _options.Provider = None,
    account: _options.Account = None,
    name: _options.Name = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Container image.")] = None,
    gpu: _options.Gpu = None,
    gpu_count: _options.Cards = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", metavar="PORT", help="Served port: 8888, 8888/http, 22/tcp. Repeatable."),
    ] = None,
    env: _options.Env = None,
    volume: Annotated[
        list[str] | None, typer.Option("--volume", "-v", metavar="/PATH=ID", help="Mount a volume. Repeatable.")
    ] = None,
    working_dir: _options.WorkingDir = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", metavar="NAME", help="Only there, in this order. Repeatable.")
    ] = None,
    cloud_type: Annotated[
        str | None, typer.Option("--cloud-type", metavar="any|secure|community", help="Where it may run.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Cheaper, and may be taken back at any time.")] = False,
    max_cost_per_hour: Annotated[
        float | None, typer.Option("--max-cost-per-hour", metavar="DOLLARS", help="Rent nothing that costs more.")
    ] = None,
    container_disk_gb: Annotated[
        int | None, typer.Option("--container-disk-gb", metavar="GB", help="Size of its own disk.")
    ] = None,
    volume_gb: Annotated[
        int | None, typer.Option("--volume-gb", metavar="GB", help="Size of the disk that survives a stop.")
    ] = None,
    template_id: Annotated[
        str | None, typer.Option("--template-id", metavar="ID", help="Begin with a template of the provider.")
    ] = None,
    on_exit: Annotated[
        str | None,
        typer.Option("--on-exit", metavar="keep|stop|terminate|restart", help="When the command ends. Default: keep."),
    ] = None,
    max_lifetime: Annotated[
        str | None, typer.Option("--max-lifetime", metavar="TIME", help="The provider ends it then: 90s, 15m, 2h, 1d.")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            metavar="bearer|signed_url|preshared",
            help="Tell the pod what verifies its visitors, and print their token, once.",
        ),
    ] = None,
    option: _options.Options = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            show_default=False,
            help="Return when it is usable; one that fails is removed. Default: no.",
        ),
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Bound of --wait. Default: 10m.")
    ] = None,
    as_json: _options.AsJson = False,
    show_secrets: _options.ShowSecrets = False,
) -> None:
    """Rent a pod and run COMMAND in it.

    It is yours until you terminate it: no stack owns it, and nothing reaps it. What follows the first word of COMMAND
    belongs to COMMAND; put -- before it when in doubt.
    """
    out, where = Out(json=as_json, show_secrets=show_secrets), Where(provider, account)
    timeout_s = _parse.duration_s(timeout, "timeout") or _TIMEOUT_S
    fields: dict[str, Any] = _parse.given(
        command=command,
        name=name,
        image=image,
        gpu=gpu,
        gpu_count=gpu_count,
        ports=port,
        env=_parse.environment(env or (), os.environ),
        volumes=_parse.mounts(volume or ()),
        working_dir=working_dir,
        regions=region,
        cloud_type=cloud_type,
        spot=spot or None,
        max_cost_per_hour=max_cost_per_hour,
        container_disk_gb=container_disk_gb,
        volume_gb=volume_gb,
        template_id=template_id,
        on_exit=on_exit,
        auth=auth,
        max_lifetime_s=_parse.duration_s(max_lifetime, "max_lifetime_s"),
        provider_options=_parse.options(option or ()),
    )
    pod = perform(
        out,
        where,
        lambda atlas: atlas.spawn_compute(wait=wait, timeout_s=timeout_s, **fields),
        doing=f"renting {name or 'a pod'}",
        writes=True,
        left=lambda: _left.creation(where),
    )
    show(out, pod)


def show(out: Out, pod: Compute) -> None:
    """A pod as the result of a command."""
    now = datetime.now(UTC)
    out.result(
        _views.compute(pod, show_secrets=out.show_secrets),
        lambda: out.fields(_views.compute_fields(pod, now, show_secrets=out.show_secrets)),
    )
