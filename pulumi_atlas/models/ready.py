"""When a new pod counts as usable, and how long each operation may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulumi_atlas.models._base import Frozen, WholeNumber

__all__ = ["Ready", "Timeouts"]

Seconds = Annotated[float, Field(gt=0, le=86_400 * 7)]


class Ready(Frozen):
    """What must be true before a created pod is handed over.

    `port`: this port of the pod accepts connections (default: the first of the pod's ports; with none, the command has
    started and is still running or has ended well). `path`: a GET of this path on that port answers below 500.
    `timeout_s`: seconds before the create is given up and what was rented is removed.
    """

    port: Annotated[WholeNumber, Field(ge=1, le=65535)] | None = None
    path: Annotated[str, Field(pattern=r"^/")] | None = None
    timeout_s: Seconds | None = None


class Timeouts(Frozen):
    """Seconds that each operation may take (`create_s`, `update_s`, `delete_s`); the engine's own time-outs never reach us."""

    create_s: Seconds = 600.0
    update_s: Seconds = 600.0
    delete_s: Seconds = 300.0
