"""`atlas runtime`: the companion, which keeps sessions; started, looked at, kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulumi_atlas.cli import _options, _runtime_keys, _runtime_look, _runtime_place, _runtime_store
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out
from pulumi_atlas.errors import Failure, InvalidSpec

if TYPE_CHECKING:
    from pulumi_atlas.runtime.configuration import Report
    from pulumi_atlas.runtime.settings import RuntimeSettings

__all__ = ["app"]

app = typer.Typer(
    help="The companion: a process that rents a pod for each user's session, and takes it down when they leave.",
    no_args_is_help=True,
)

NAME_VARIABLE, NAME = "ATLAS_RUNTIME_DEPLOYMENT", "companion"


@app.command("serve")
def serve(
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Default: ATLAS_RUNTIME_LISTEN, then 127.0.0.1:8765."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="sqlite:///PATH", help="Default: ATLAS_RUNTIME_STORE, then your state folder."),
    ] = None,
    deployment: Annotated[
        str,
        typer.Option(
            "--deployment", metavar="NAME", envvar=NAME_VARIABLE, help="A name for people. Default: companion."
        ),
    ] = NAME,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The atlas.yaml to read. Default: the nearest.")
    ] = None,
    check_config: Annotated[
        bool, typer.Option("--check-config", help="Only say what is wrong with the settings: exit code 0 or 2.")
    ] = False,
    as_json: _options.AsJson = False,
) -> None:
    """Run a companion until it is told to stop (Ctrl-C, SIGTERM). Prints one line when it is ready.

    The first start writes an admin key into a file beside the store. Stopping it leaves the pods alone; at its next
    start they are as they were. --check-config starts nothing and sends nothing.
    """
    out = Out(json=as_json)
    place, address = store or _runtime_place.default_store(), listen or _runtime_place.default_listen()
    with _runtime_place.needs_extra():
        from pulumi_atlas.runtime import configuration
        from pulumi_atlas.runtime.store import store_path

        store_path(place)
        _runtime_place.split_listen(address)
        _named(deployment)
        if check_config:
            _tell(out, configuration.examine(config))
            return
        report = configuration.examine(config)
        for warning in report.warnings:
            out.note(f"warning: {warning}")
        found = configuration.accepted(report)
        from pulumi_atlas.client.core import Core
        from pulumi_atlas.runtime.serve import serve as run
    with _logging(found.settings):
        code = run(address, place, deployment, found.settings, core=lambda: Core(environ=found.environ), say=out.line)
    if code:
        raise typer.Exit(code)


@contextmanager
def _logging(settings: RuntimeSettings) -> Iterator[None]:
    """The companion's log instead of the command line's: to stderr, in the wanted form, without secrets."""
    import logging

    from pulumi_atlas.runtime import logs

    ours = logging.getLogger("pulumi_atlas")
    before, ours.handlers[:] = list(ours.handlers), []
    log = logs.configure(settings.log_format, secrets=_secrets(settings))
    try:
        yield
    finally:
        log.close()
        ours.handlers[:] = before


def _secrets(settings: RuntimeSettings) -> Iterator[str]:
    """Values from this process's environment that the settings name."""
    names = [name for template in settings.templates.values() for name in template.env_from]
    names += [hook.secret_env for hook in settings.webhooks.values() if hook.secret_env]
    return (os.environ[name] for name in names if os.environ.get(name))


def _named(deployment: str) -> None:
    if not deployment.strip() or len(deployment) > 128 or not deployment.isprintable():
        hint = "1 to 128 printable characters, such as studio-prod"
        raise InvalidSpec([Failure("deployment", "is no name", hint)])


def _tell(out: Out, report: Report) -> None:
    document = {
        "ok": report.ok,
        "file": str(report.file) if report.file else None,
        "faults": [fault.as_json() for fault in report.faults],
        "warnings": [warning.as_json() for warning in report.warnings],
    }
    out.result(document, lambda: _say(out, report))
    if not report.ok:
        raise typer.Exit(Exit.USAGE)


def _say(out: Out, report: Report) -> None:
    for fault in report.faults:
        out.line(f"error: {fault}")
    for warning in report.warnings:
        out.line(f"warning: {warning}")
    if report.ok:
        where = report.file or "there is no atlas.yaml; everything has its default, which"
        out.line(f"{where} is in order")


_runtime_look.add_to(app)
app.add_typer(_runtime_keys.app, name="keys")
_runtime_store.add_to(app)
