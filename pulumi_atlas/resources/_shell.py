"""The dynamic providers as a program sees them: light, because every program imports them and only the engine uses them.

The classes that the engine's state points to (`_PodProvider` …) hold no attributes and live for ever under their names:
state keeps a constant of some forty characters, and a renamed class would strand it. What they do is in their `Life`,
which is loaded at the first call, in the provider process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pulumi.dynamic import (
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

if TYPE_CHECKING:
    from pulumi_atlas.resources._life import Life

__all__ = ["Shell", "warm_up"]


class Shell(ResourceProvider):
    """The base of our dynamic providers. Subclasses name their life: `module:Class`."""

    serialize_as_secret_always = False

    life: ClassVar[str]

    def configure(self, req: ConfigureRequest) -> None:
        _load(self.life).configure(req)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return _load(self.life).check(_olds, news)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return _load(self.life).diff(_id, _olds, _news)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return _load(self.life).create(props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return _load(self.life).read(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return _load(self.life).update(_id, _olds, _news)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        _load(self.life).delete(_id, _props)


def warm_up() -> None:
    """Load what all lives share."""
    with _no_collections():
        importlib.import_module("pulumi_atlas.resources._pod_life")


@cache
def _load(path: str) -> Life:
    module, _, name = path.partition(":")
    with _no_collections():
        return cast("Life", getattr(importlib.import_module(module), name)())


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Loading makes many objects that stay; looking for garbage among them takes a fifth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
