"""Options that many commands share, with the same names and the same words everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Account",
    "AsJson",
    "Cards",
    "Env",
    "Gpu",
    "Ids",
    "Name",
    "Options",
    "Provider",
    "ShowSecrets",
    "WorkingDir",
    "Yes",
]


def _providers(incomplete: str) -> list[str]:
    from pulumi_atlas.providers import registry

    return [name for name in registry.known() if name.startswith(incomplete)]


def _gpus(incomplete: str) -> list[str]:
    from pulumi_atlas import gpus

    return [name for name in gpus.known() if name.startswith(incomplete)]


Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        metavar="NAME",
        autocompletion=_providers,
        help="The cloud. Default: the account's, atlas.yaml's, then ATLAS_PROVIDER.",
    ),
]
Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="A profile of atlas.yaml. Default: none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
ShowSecrets = Annotated[bool, typer.Option("--show-secrets", help="Print env values and endpoint keys, not ***.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Name = Annotated[
    str | None, typer.Option("--name", "-n", metavar="NAME", help="A name for people; need not be unique.")
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="K=V", help="Variable for the command; K alone takes yours. Repeatable."),
]
Gpu = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="NAME", autocompletion=_gpus, help="First with capacity wins. Repeatable."),
]
Cards = Annotated[int | None, typer.Option("--gpu-count", metavar="N", help="Number of cards. Default: 1.")]
WorkingDir = Annotated[str | None, typer.Option("--working-dir", "-w", metavar="DIR", help="Where the command runs.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="K=V", help="What only this provider knows; V may be JSON. Repeatable."),
]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help="One id or more.")]
