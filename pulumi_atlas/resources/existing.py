"""A thing that exists already, as the engine's state is to hold it: what an import writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider

from pulumi_atlas.client.intents import KindName
from pulumi_atlas.ids import StackId, Tag
from pulumi_atlas.resources import _wire
from pulumi_atlas.resources._endpoint_life import EndpointLife
from pulumi_atlas.resources._life import Life
from pulumi_atlas.resources._pod_life import PodLife
from pulumi_atlas.resources._volume_life import VolumeLife
from pulumi_atlas.resources.endpoint import _EndpointProvider
from pulumi_atlas.resources.pod import _PodProvider
from pulumi_atlas.resources.stack import _NAME, _StackProvider
from pulumi_atlas.resources.volume import _VolumeProvider

__all__ = ["CLASS_NAMES", "Stored", "stored_stack", "stored_thing"]

#: The resource class for each kind of thing.
CLASS_NAMES: Mapping[KindName, str] = {"pod": "Pod", "volume": "Volume", "endpoint": "Endpoint"}

_LIVES: Mapping[KindName, type[Life]] = {"pod": PodLife, "volume": VolumeLife, "endpoint": EndpointLife}
_PROVIDERS: Mapping[KindName, type[ResourceProvider]] = {
    "pod": _PodProvider,
    "volume": _VolumeProvider,
    "endpoint": _EndpointProvider,
}
_PREFIX = "pulumi-python:dynamic/atlas:"


@dataclass(frozen=True)
class Stored:
    """One resource of the state, its secrets in clear: `secret` names the properties that may not stay so.

    A property in `secret` that is a mapping has secret values, as when a program gives them one by one.
    """

    type: str
    name: str
    id: str
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    secret: frozenset[str] = frozenset()


def stored_thing(
    kind: KindName, thing: Any, arguments: Mapping[str, Any], *, name: str, tag: Tag, identity: str
) -> Stored:  # fmt: skip
    """The resource `name` for a thing that these arguments declare, `provider` among them.

    Raises InvalidSpec when they cannot be declared.
    """
    inputs, outputs = _LIVES[kind]().as_stored({**arguments, "name": name}, tag, thing, identity)
    key = {_wire.PROVIDER_KEY: serialize_provider(_PROVIDERS[kind]())}
    secret = frozenset({"env", "api_key"})
    return Stored(_PREFIX + CLASS_NAMES[kind], name, thing.id, {**inputs, **key}, {**outputs, **key}, secret)


def stored_stack(stack_id: StackId) -> Stored:
    """The small resource that holds the stack's own id, for a state that has none yet."""
    key = {_wire.PROVIDER_KEY: serialize_provider(_StackProvider())}
    return Stored(_PREFIX + "Stack", _NAME, stack_id, key, key)
