"""What only the mock cloud has: things without a birth."""

from __future__ import annotations

import asyncio

import pytest

from pulumi_atlas.access import Access
from pulumi_atlas.errors import Conflict, UnknownOutcome
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.mock import MockProvider, World


def test_a_strangers_pod_gets_the_tags_birth_once() -> None:
    world = World.fresh()
    pod = world.plant(ComputeSpec(image="busybox"))
    assert (pod.birth, pod.owner) == (None, None)
    provider, tag = MockProvider(Access("mock"), world=world), Tag(new_birth(), Owner("manual", "me"))
    asyncio.run(provider.retag("pod", pod.id, tag))
    assert (world.pods[pod.id].birth, world.pods[pod.id].owner) == (tag.birth, tag.owner)
    with pytest.raises(Conflict):
        asyncio.run(provider.retag("pod", pod.id, Tag(new_birth(), tag.owner)))


def test_an_answer_can_be_lost_after_the_effect_and_the_call_repeated() -> None:
    world = World.fresh()
    pod = world.plant(ComputeSpec(image="busybox"))
    provider, tag = MockProvider(Access("mock"), world=world), Tag(new_birth(), Owner("manual", "me"))
    world.fail_next("retag", after_effect=True)
    with pytest.raises(UnknownOutcome):
        asyncio.run(provider.retag("pod", pod.id, tag))
    assert world.pods[pod.id].owner == tag.owner
    asyncio.run(provider.retag("pod", pod.id, tag))
