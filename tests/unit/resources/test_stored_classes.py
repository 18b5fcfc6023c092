"""What the state of every stack out there points to can be loaded for ever."""

from __future__ import annotations

import base64

import dill
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from pulumi_atlas.resources import endpoint, pod, stack, volume

STORED = {
    "pod": (pod._PodProvider, "gASVMgAAAAAAAACMGnB1bHVtaV9hdGxhcy5yZXNvdXJjZXMucG9klIwMX1BvZFByb3ZpZGVylJOUKYGULg=="),
    "volume": (
        volume._VolumeProvider,
        "gASVOAAAAAAAAACMHXB1bHVtaV9hdGxhcy5yZXNvdXJjZXMudm9sdW1llIwPX1ZvbHVtZVByb3ZpZGVylJOUKYGULg==",
    ),
    "endpoint": (
        endpoint._EndpointProvider,
        "gASVPAAAAAAAAACMH3B1bHVtaV9hdGxhcy5yZXNvdXJjZXMuZW5kcG9pbnSUjBFfRW5kcG9pbnRQcm92aWRlcpSTlCmBlC4=",
    ),
    "stack": (
        stack._StackProvider,
        "gASVNgAAAAAAAACMHHB1bHVtaV9hdGxhcy5yZXNvdXJjZXMuc3RhY2uUjA5fU3RhY2tQcm92aWRlcpSTlCmBlC4=",
    ),
}


@pytest.mark.parametrize("kind", STORED)
def test_the_serialised_provider_is_a_constant(kind: str) -> None:
    """A change here strands the state of every user: keep the old name as an alias instead."""
    cls, stored = STORED[kind]
    assert serialize_provider(cls()) == stored
    assert type(dill.loads(base64.b64decode(stored))) is cls
