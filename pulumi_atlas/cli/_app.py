"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from pulumi_atlas.cli import (
    compute,
    doctor,
    drift,
    endpoints,
    gpus,
    imports,
    jobs,
    leaks,
    ownership,
    providers,
    runtime,
    session,
    volumes,
)
from pulumi_atlas.cli._exit import EPILOG

__all__ = ["app"]

app = typer.Typer(
    name="atlas",
    help="Rented GPU and CPU machines, over several clouds and your own computer.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it starts twice as fast and reads the same in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from pulumi_atlas import __version__
        from pulumi_atlas.cli._output import write

        write(f"atlas {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    return None


app.command("doctor")(doctor.show)
app.command("import")(imports.show)
app.command("release")(ownership.release)
app.command("adopt-owner")(ownership.adopt)
app.command("leaks")(leaks.show)
app.command("drift")(drift.show)
app.command("providers")(providers.show)
app.command("gpus")(gpus.show)
app.add_typer(compute.app, name="compute")
app.add_typer(volumes.app, name="volumes")
app.add_typer(endpoints.app, name="endpoints")
app.add_typer(jobs.app, name="jobs")
app.add_typer(runtime.app, name="runtime")
app.add_typer(session.app, name="session")
