"""Pulumi resources. With `drift` and `testing`, the only rooms that import pulumi."""

from pulumi_atlas.resources.endpoint import Endpoint
from pulumi_atlas.resources.pod import Pod
from pulumi_atlas.resources.stack import Stack
from pulumi_atlas.resources.volume import Volume

__all__ = ["Endpoint", "Pod", "Stack", "Volume"]
