"""A serverless endpoint as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_atlas.resources import _outputs
from pulumi_atlas.resources._program import inputs_of, real_types
from pulumi_atlas.resources._shell import Shell

if TYPE_CHECKING:  # the models cost a program more than all the rest
    from pulumi_atlas.models import Timeouts, Workers

__all__ = ["Endpoint"]


class _EndpointProvider(Shell):
    """Serves `Endpoint`. The engine's state names this class: it is never renamed."""

    life = "pulumi_atlas.resources._endpoint_life:EndpointLife"


@real_types
class Endpoint(Resource, module="atlas", name="Endpoint"):
    """A queue of jobs with workers that come and go; RunPod's job API on every provider.

    Args:
        resource_name: The Pulumi name; also the endpoint's name at the provider.
        provider: Which cloud; default as for `Pod`.
        handler: ``"module:function"``, called with each job (`local`). The function may be async or a generator.
        command: A program that speaks RunPod's worker protocol, for example a script on the `runpod` package.
        image: A container image whose program does so, where the provider runs containers.
        workers: How many workers, and how long an idle one is kept.
        env: Environment variables of the workers, texts.
        working_dir: Folder that the workers run in (and that `handler` is imported from), on `local`.
        gpu: Canonical GPU names, as for `Pod`.
        gpu_count: GPUs for each worker.
        execution_timeout_s: Seconds that one run of a job may take.
        queue_ttl_s: Seconds that a job may live, waiting included.
        max_retries: How often a job is given to another worker after its worker died.
        trigger: Any value; when it changes, the workers are started anew.
        timeouts: Seconds for create, update and delete.
        account: A profile of atlas.yaml.
        provider_options: What only one cloud knows.
        opts: Pulumi's resource options.
    """

    status: pulumi.Output[str]
    """``starting``, ``ready``, ``stopped`` or ``failed``."""
    reason: pulumi.Output[str | None]
    """A sentence when the status needs one."""
    url: pulumi.Output[str]
    """Base of the job API: POST ``{url}/run`` with ``{"input": …}``."""
    api_key: pulumi.Output[str | None]
    """The key that opens it (``Authorization: Bearer …``), where the endpoint has one of its own. A secret."""
    cost_per_hour: pulumi.Output[float | None]
    """Price per hour while workers run, in the account's currency."""
    created_at: pulumi.Output[str | None]
    """When it was created, ISO 8601."""
    account_id: pulumi.Output[str]
    """The identity of the account it was made in; other accounts are refused."""
    provider: pulumi.Output[str]
    """The provider's name."""
    name: pulumi.Output[str]
    """The endpoint's name at the provider."""

    def __init__(
        self,
        resource_name: str,
        *,
        provider: pulumi.Input[str] | None = None,
        handler: pulumi.Input[str] | None = None,
        command: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        image: pulumi.Input[str] | None = None,
        workers: Workers | pulumi.Input[Mapping[str, Any]] | None = None,
        env: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        working_dir: pulumi.Input[str] | None = None,
        gpu: pulumi.Input[Sequence[pulumi.Input[str]]] | pulumi.Input[str] | None = None,
        gpu_count: pulumi.Input[int] | None = None,
        execution_timeout_s: pulumi.Input[float] | None = None,
        queue_ttl_s: pulumi.Input[float] | None = None,
        max_retries: pulumi.Input[int] | None = None,
        trigger: pulumi.Input[Any] | None = None,
        timeouts: Timeouts | pulumi.Input[Mapping[str, Any]] | None = None,
        account: pulumi.Input[str] | None = None,
        provider_options: pulumi.Input[Mapping[str, Any]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {
            "provider": provider,
            "handler": handler,
            "command": command,
            "image": image,
            "workers": workers,
            "env": env,
            "working_dir": working_dir,
            "gpu": [gpu] if isinstance(gpu, str) else gpu,
            "gpu_count": gpu_count,
            "execution_timeout_s": execution_timeout_s,
            "queue_ttl_s": queue_ttl_s,
            "max_retries": max_retries,
            "trigger": trigger,
            "timeouts": timeouts,
            "account": account,
            "provider_options": provider_options,
        }
        inputs = inputs_of(resource_name, "atlas:Endpoint", given, _outputs.ENDPOINT, opts)
        secret = pulumi.ResourceOptions(additional_secret_outputs=["api_key"])
        super().__init__(_EndpointProvider(), resource_name, inputs, pulumi.ResourceOptions.merge(opts, secret))
        self.url = _url(self.id, given["provider"] or self.provider, self.url)

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],
        *,
        provider: str | None = None,
        account: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> Endpoint:
        """An existing endpoint, read and not managed."""
        merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id))
        return cls(resource_name, provider=provider, account=account, opts=merged)


def _url(ident: Any, provider: Any, stored: Any) -> pulumi.Output[str]:
    """The URL from the id, in the program process, so that an update of this endpoint changes nothing that uses it."""

    def derive(values: Sequence[Any]) -> Any:
        endpoint_id, name = values
        from pulumi_atlas.providers import registry

        try:
            stable = getattr(registry.load(str(name)), "endpoint_url", None)
            return stored if stable is None else stable(str(endpoint_id))
        except Exception:  # noqa: BLE001  # not an id of that provider (a mocked test, an unknown provider): as stored
            return stored

    return pulumi.Output.all(ident, provider).apply(derive)
