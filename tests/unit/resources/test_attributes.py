"""What a resource's class promises as an output is there, whether the argument of that name was given or not."""

from __future__ import annotations

import inspect

import pytest
from pulumi.dynamic import Resource

from pulumi_atlas.resources import Endpoint, Pod, Volume, _outputs

DECLARED = {Pod: _outputs.POD, Volume: _outputs.VOLUME, Endpoint: _outputs.ENDPOINT}

#: Always among the inputs: see `inputs_of`.
ALWAYS = {"name", "provider"}


@pytest.mark.parametrize("cls", DECLARED)
def test_each_annotated_output_is_declared(cls: type[Resource]) -> None:
    """Pulumi makes attributes of the declared names only; any other is an AttributeError in the user's program."""
    assert set(inspect.get_annotations(cls)) - ALWAYS <= set(DECLARED[cls])
