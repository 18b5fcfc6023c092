"""`atlas session open`, and how a session is shown."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import typer

from pulumi_atlas.cli import _companion_views as views
from pulumi_atlas.cli import _options, _parse
from pulumi_atlas.cli._companion_options import Key, KeyFile, Store, Url, asked
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Left
from pulumi_atlas.cli._session_wait import until_settled
from pulumi_atlas.errors import Failure, InvalidSpec

__all__ = ["open_", "tell"]

TIMEOUT_S = 600.0


def open_(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="With --provider: what runs in the pod; no shell.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", metavar="NAME", help="A template of the companion's atlas.yaml.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="TEXT", help="Whose it is: limits and budgets count by owner.")
    ] = None,
    idle_ttl: Annotated[
        str | None, typer.Option("--idle-ttl", "--idle-ttl-s", metavar="TIME", help="Idle so long, it ends: 90s, 15m.")
    ] = None,
    max_lifetime: Annotated[
        str | None, typer.Option("--max-lifetime", "--max-lifetime-s", metavar="TIME", help="Then it ends in any case.")
    ] = None,
    warn_before: Annotated[
        str | None, typer.Option("--warn-before", "--warn-before-s", metavar="TIME", help="Before an end; 0: never.")
    ] = None,
    on_idle: Annotated[
        str | None, typer.Option("--on-idle", metavar="terminate|stop", help="At the end of the idle time.")
    ] = None,
    paused_ttl: Annotated[
        str | None, typer.Option("--paused-ttl", "--paused-ttl-s", metavar="TIME", help="Paused so long, it ends.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="MONEY", help="It ends when that is spent.")
    ] = None,
    auth: Annotated[
        str | None, typer.Option("--auth", metavar="bearer|signed_url|none", help="How its visitors come in.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", metavar="K=V", help="For you. Repeatable.")] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", metavar="NAME", help="Without a template (needs an admin key).")
    ] = None,
    account: _options.Account = None,
    name: _options.Name = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Container image.")] = None,
    gpu: _options.Gpu = None,
    gpu_count: _options.Cards = None,
    port: Annotated[
        list[str] | None, typer.Option("--port", metavar="PORT", help="Served port: 8888, 8888/http. Repeatable.")
    ] = None,
    env: _options.Env = None,
    volume: Annotated[
        list[str] | None, typer.Option("--volume", "-v", metavar="/PATH=ID", help="Mount a volume. Repeatable.")
    ] = None,
    working_dir: _options.WorkingDir = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", metavar="NAME", help="Only there, in this order. Repeatable.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Cheaper, and may be taken back at any time.")] = False,
    max_cost_per_hour: Annotated[
        float | None, typer.Option("--max-cost-per-hour", metavar="DOLLARS", help="Rent nothing that costs more.")
    ] = None,
    option: _options.Options = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", show_default=False, help="Return when it is ready. Default: no.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Bound of --wait. Default: 10m.")
    ] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    store: Store = None,
    as_json: _options.AsJson = False,
) -> None:
    """Open a session: from a template, or from a provider and a COMMAND as `atlas compute spawn` takes them.

    Prints the tokens once: `token` lets visitors into the pod, `touch token` keeps the session alive and watches it.
    What follows the first word of COMMAND belongs to COMMAND; put -- before it when in doubt.
    """
    out = Out(json=as_json)
    spec = _parse.given(
        provider=provider,
        account=account,
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
        spot=spot or None,
        max_cost_per_hour=max_cost_per_hour,
        provider_options=_parse.options(option or ()),
    )
    _one_of(template, spec)
    body = _parse.given(
        template=template,
        spec=spec,
        owner=owner,
        idle_ttl_s=_parse.duration_s(idle_ttl, "idle_ttl_s"),
        max_lifetime_s=_parse.duration_s(max_lifetime, "max_lifetime_s"),
        warn_before_s=_parse.duration_s(warn_before, "warn_before_s"),
        on_idle=on_idle,
        paused_ttl_s=_parse.duration_s(paused_ttl, "paused_ttl_s"),
        budget=budget,
        auth=auth,
        labels=_labels(label or ()),
    )
    timeout_s = _parse.duration_s(timeout, "timeout") or TIMEOUT_S
    tell(out, _opened(out, body, wait, timeout_s, (url, key, key_file, store)))


def tell(out: Out, row: dict[str, Any]) -> None:
    """A session as the result of a command. Tokens are there only where they were issued just now."""
    out.result(row, lambda: out.fields(views.session_fields(row)))


def _opened(out: Out, body: dict[str, Any], wait: bool, timeout_s: float, where: tuple[Any, ...]) -> dict[str, Any]:
    opened: dict[str, Any] = {}

    def left() -> Left:
        if not opened:
            return Left("whether it was opened is not known; `atlas session list` shows it")
        ident = opened["id"]
        sentence = f"session {ident} is there and may cost money; `atlas session close {ident}` ends it"
        return Left(sentence, ({"kind": "session", "id": ident},))

    with asked(*where, left=left) as companion:
        opened.update(companion.open(body))
        if not wait:
            return opened
        return until_settled(out, companion, opened, to="ready", timeout_s=timeout_s, clock=time.monotonic)


def _one_of(template: str | None, spec: dict[str, Any]) -> None:
    if template is None and not spec:
        hint = "name one with --template (`atlas runtime templates` lists them), or a --provider and a COMMAND"
        raise InvalidSpec([Failure("template", "nothing says what to rent", hint)])
    if template is not None and spec:
        names = ", ".join(sorted(spec))
        hint = "a template says it all; leave these out, or the template"
        raise InvalidSpec([Failure("template", f"cannot be given together with {names}", hint)])


def _labels(words: list[str] | tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidSpec([Failure("labels", f"{word!r} has no value", "write NAME=VALUE")])
        labels[name] = value
    return labels
