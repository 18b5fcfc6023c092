"""The small resource that holds the stack's own random id, so that two people with the same names never share a machine."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.runtime.settings import get_root_resource

from pulumi_atlas.backend import find_backend, find_project, home_of
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.ids import new_stack_id
from pulumi_atlas.resources._shell import warm_up

__all__ = ["Stack", "stack_of_program"]

_NAME = "atlas"

_made: weakref.WeakKeyDictionary[pulumi.Resource, Stack] = weakref.WeakKeyDictionary()


class _StackProvider(ResourceProvider):
    """Makes an id once, and keeps where that was. It stands for nothing outside the state."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        # This is the first that the engine asks of us; what it asks next needs what takes a while to load.
        threading.Thread(target=warm_up, name="atlas-warm-up", daemon=True).start()

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(new_stack_id(), _kept(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, _kept(props), _kept(props))


def _kept(props: dict[str, Any]) -> dict[str, Any]:
    return {"home": props["home"]} if props.get("home") else {}


class Stack(Resource, module="atlas", name="Stack"):
    """Holds the stack id, as its own `id`. Made by the first of our resources in a program; never make one yourself."""

    def __init__(self) -> None:
        home = _home()
        super().__init__(_StackProvider(), _NAME, {"home": home} if home else {})


def _home() -> str | None:
    """Where this program's state is kept; None when that cannot be told."""
    try:
        project = find_project(Path.cwd())
        return home_of(find_backend(os.environ, project), pulumi.get_project(), pulumi.get_stack())
    except (AtlasError, OSError):
        return None


def stack_of_program() -> Stack:
    """The program's one `Stack`: made on first use, and anew for each program that runs in this process."""
    root = get_root_resource()
    if root is None:
        return Stack()
    if root not in _made:
        _made[root] = Stack()
    return _made[root]
