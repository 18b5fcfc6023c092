"""Endpoints: they are there to take jobs, keep their id through an update, and leave nothing when deleted."""

from __future__ import annotations

import pytest

from pulumi_atlas.errors import NotFound
from pulumi_atlas.models import Workers
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite

__all__ = ["EndpointConformance"]


class EndpointConformance(Suite):
    """The ability `endpoints`."""

    @story
    async def test_a_created_endpoint_is_shown_by_get_and_by_list_and_gone_after_delete(self, stage: Stage) -> None:
        stage.need("endpoints")
        tag = stage.tag()
        made = await stage.provider.create_endpoint(stage.harness.endpoint_spec("echo"), tag)
        identity = await stage.provider.identity()
        listed = [one for one in await stage.provider.list_endpoints() if one.id == made.id]
        assert len(listed) == 1
        for endpoint in (made, await stage.provider.get_endpoint(made.id), *listed):
            assert (endpoint.id, endpoint.birth, endpoint.owner) == (made.id, tag.birth, tag.owner)
            assert (endpoint.account, endpoint.provider) == (identity, stage.harness.name)
            assert endpoint.url
        await stage.provider.delete_endpoint(made.id)
        with pytest.raises(NotFound):
            await stage.provider.get_endpoint(made.id)
        assert made.id not in {one.id for one in await stage.provider.list_endpoints()}

    @story
    async def test_two_instances_see_the_same_endpoint(self, stage: Stage) -> None:
        made, other = await stage.endpoint(), stage.another()
        assert (await other.get_endpoint(made.id)).birth == made.birth
        await other.delete_endpoint(made.id)
        with pytest.raises(NotFound):
            await stage.provider.get_endpoint(made.id)

    @story
    async def test_a_change_keeps_the_id_and_is_shown(self, stage: Stage) -> None:
        made = await stage.endpoint()
        table = stage.provider.endpoint_changes
        changes = {"workers": Workers(min=0, max=2, idle_timeout_s=7), "env": {"CHANGED": "1"}, "max_retries": 1}
        for field, value in changes.items():
            if table.get(field, "replace") == "replace":
                continue
            spec = stage.harness.endpoint_spec("echo").model_copy(update={field: value})
            await stage.provider.update_endpoint(made.id, spec, restart=table[field] == "restart")
            shown = await stage.until(
                lambda: stage.provider.get_endpoint(made.id), lambda seen: seen.status == "ready", "it serves again"
            )
            assert (shown.id, shown.birth, shown.url) == (made.id, made.birth, made.url)
            assert shown.spec is None or getattr(shown.spec, field) == value, field

    @story
    async def test_get_update_and_delete_of_a_missing_endpoint_raise_not_found(self, stage: Stage) -> None:
        stage.need("endpoints")
        missing, spec = stage.harness.missing_id, stage.harness.endpoint_spec("echo")
        with pytest.raises(NotFound):
            await stage.provider.get_endpoint(missing)
        with pytest.raises(NotFound):
            await stage.provider.update_endpoint(missing, spec, restart=False)
        with pytest.raises(NotFound):
            await stage.provider.delete_endpoint(missing)

    @story
    async def test_its_key_is_not_shown_unless_asked_for(self, stage: Stage) -> None:
        endpoint = await stage.endpoint()
        if endpoint.key is None:
            pytest.skip(f"{stage.harness.name} has no key for each endpoint")
        assert endpoint.key not in repr(endpoint)
        assert endpoint.key not in str(endpoint.raw)
