"""The mock cloud: deterministic, in memory or in a file, with recorded calls and failures on demand."""

from pulumi_atlas.providers.mock._provider import MockProvider
from pulumi_atlas.providers.mock._world import Call, World

__all__ = ["Call", "MockProvider", "World"]
