"""A pod as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_atlas.resources import _outputs
from pulumi_atlas.resources._program import inputs_of, real_types
from pulumi_atlas.resources._shell import Shell

if TYPE_CHECKING:  # the models cost a program more than all the rest
    from pulumi_atlas.models import Ready, Timeouts

__all__ = ["Pod"]


class _PodProvider(Shell):
    """Serves `Pod`. The engine's state names this class: it is never renamed."""

    life = "pulumi_atlas.resources._pod_life:PodLife"


@real_types
class Pod(Resource, module="atlas", name="Pod"):
    """A rented (or, with `local`, a started) machine that runs one command.

    Every argument may be an `Output`. What cannot be right is refused at preview, each failure with its path and a hint.

    Args:
        resource_name: The Pulumi name; also the pod's name at the provider.
        provider: Which cloud; default: stack config `atlas:provider`, atlas.yaml, `ATLAS_PROVIDER`.
        command: Program and arguments, run as given, without a shell. Changing it restarts the pod.
        image: Container image, where the provider runs containers.
        env: Environment variables, texts. Secret values stay secret. Changing them restarts the pod.
        ports: Ports that the program serves: ``"8888/http"``, ``"22/tcp"`` or ``8888``. On `local` each gets a free port
            of this machine, told to the program as ``PORT`` (the first) and ``PORT_<n>``.
        volumes: Mount path → volume id.
        gpu: Canonical GPU names (`atlas gpus`) in order of preference: the first with capacity is taken. Constrains
            creation: an existing pod is replaced only when you change this and the pod's GPU is no longer in it.
        gpu_count: Number of GPUs, 1 or more.
        cloud_type: ``"any"``, ``"secure"`` or ``"community"``; constrains creation, as `gpu`.
        spot: Rent an interruptible machine.
        regions: Regions that are allowed; constrains creation, as `gpu`.
        max_cost_per_hour: The most that an hour may cost at creation. A later rise is reported, never acted on.
        container_disk_gb: Size of the pod's own disk, gigabytes.
        volume_gb: Size of the pod's own persistent storage, gigabytes, where the provider has that.
        template_id: A template at the provider to start from.
        auth: What is issued so that visitors are let in: ``"bearer"`` (a token), ``"signed_url"`` (a token, and a key that
            signs URLs) or ``"preshared"``; default: nothing. The pod gets only what verifies it, and its program or the
            guard in front of it (`atlas_session.guard`) does so. ``"preshared"`` puts the token itself into the pod, as
            ``ATLAS_PRESHARED_KEY``, for programs written for ExAtlas. Changing it restarts the pod, as `env` does.
        auth_generation: Raise it to revoke all that was handed out: a new token and a new key; default 0.
        working_dir: Folder to run the command in; relative to the project's folder on `local`.
        desired_status: ``"running"`` or ``"stopped"``. A pod stopped behind Pulumi's back is drift.
        trigger: Any value; when it changes, the command is run again, also when it had ended.
        on_exit: What happens when the command ends by itself: ``"keep"`` (default), ``"stop"``, ``"terminate"``,
            ``"restart"``.
        max_lifetime_s: Seconds after which the provider itself ends the pod's run.
        ready: What must be true before the pod counts as created; default: its first port accepts connections.
        timeouts: Seconds for create, update and delete (the engine's `custom_timeouts` never reach a dynamic provider).
        account: A profile of atlas.yaml.
        provider_options: What only one cloud knows; never overrides what we generate.
        opts: Pulumi's resource options.
    """

    status: pulumi.Output[str]
    """``provisioning``, ``running``, ``stopped``, ``finished`` (ended with code 0) or ``failed``."""
    reason: pulumi.Output[str]
    """A sentence when the status needs one; else empty."""
    exit_code: pulumi.Output[int | None]
    """How the command ended: its code, or minus the signal's number; None while it has not."""
    urls: pulumi.Output[dict[str, str]]
    """URL by port number, for example ``pod.urls["8888"]``. Where it follows from the id it is known at preview."""
    public_ip: pulumi.Output[str | None]
    """The machine's public address, where it has one."""
    cost_per_hour: pulumi.Output[float | None]
    """Price per hour in the account's currency; 0 on `local`."""
    region: pulumi.Output[str | None]
    """Where it runs."""
    gpu_name: pulumi.Output[str | None]
    """The canonical name of the GPU that was given."""
    created_at: pulumi.Output[str | None]
    """When it was created, ISO 8601."""
    account_id: pulumi.Output[str]
    """The identity of the account it was made in; other accounts are refused."""
    token: pulumi.Output[str | None]
    """With `auth`: the bearer token, which may be handed to the pod's user. A secret; minted once, kept until `auth` or
    `auth_generation` changes."""
    signing_key: pulumi.Output[str | None]
    """With ``auth="signed_url"``: the key of `atlas_session.sign_url`, as base64url text. A secret of your server's, never
    for a browser."""
    signing_kid: pulumi.Output[str | None]
    """The id of `signing_key`."""
    provider: pulumi.Output[str]
    """The provider's name."""
    name: pulumi.Output[str]
    """The pod's name at the provider."""
    command: pulumi.Output[list[str] | None]
    """As given."""
    image: pulumi.Output[str | None]
    """As given."""
    env: pulumi.Output[dict[str, str] | None]
    """As given; secret values stay secret."""
    ports: pulumi.Output[list[str] | None]
    """As given, in one spelling: ``8888/http``."""
    volumes: pulumi.Output[dict[str, str] | None]
    """As given."""
    desired_status: pulumi.Output[str]
    """As given; after a refresh, what was found."""

    def __init__(
        self,
        resource_name: str,
        *,
        provider: pulumi.Input[str] | None = None,
        command: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        image: pulumi.Input[str] | None = None,
        env: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        ports: pulumi.Input[Sequence[pulumi.Input[str | int]]] | None = None,
        volumes: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        gpu: pulumi.Input[Sequence[pulumi.Input[str]]] | pulumi.Input[str] | None = None,
        gpu_count: pulumi.Input[int] | None = None,
        cloud_type: pulumi.Input[str] | None = None,
        spot: pulumi.Input[bool] | None = None,
        regions: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        max_cost_per_hour: pulumi.Input[float] | None = None,
        container_disk_gb: pulumi.Input[int] | None = None,
        volume_gb: pulumi.Input[int] | None = None,
        template_id: pulumi.Input[str] | None = None,
        auth: pulumi.Input[str] | None = None,
        auth_generation: pulumi.Input[int] | None = None,
        working_dir: pulumi.Input[str] | None = None,
        desired_status: pulumi.Input[str] | None = None,
        trigger: pulumi.Input[Any] | None = None,
        on_exit: pulumi.Input[str] | None = None,
        max_lifetime_s: pulumi.Input[float] | None = None,
        ready: Ready | pulumi.Input[Mapping[str, Any]] | None = None,
        timeouts: Timeouts | pulumi.Input[Mapping[str, Any]] | None = None,
        account: pulumi.Input[str] | None = None,
        provider_options: pulumi.Input[Mapping[str, Any]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {
            "provider": provider,
            "command": command,
            "image": image,
            "env": env,
            "ports": ports,
            "volumes": volumes,
            "gpu": [gpu] if isinstance(gpu, str) else gpu,
            "gpu_count": gpu_count,
            "cloud_type": cloud_type,
            "spot": spot,
            "regions": regions,
            "max_cost_per_hour": max_cost_per_hour,
            "container_disk_gb": container_disk_gb,
            "volume_gb": volume_gb,
            "template_id": template_id,
            "auth": auth,
            "auth_generation": auth_generation,
            "working_dir": working_dir,
            "desired_status": desired_status,
            "trigger": trigger,
            "on_exit": on_exit,
            "max_lifetime_s": max_lifetime_s,
            "ready": ready,
            "timeouts": timeouts,
            "account": account,
            "provider_options": provider_options,
        }
        inputs = inputs_of(resource_name, "atlas:Pod", given, _outputs.POD, opts)
        secret = pulumi.ResourceOptions(additional_secret_outputs=["token", "signing_key"])
        super().__init__(_PodProvider(), resource_name, inputs, pulumi.ResourceOptions.merge(opts, secret))
        if ports is not None:
            self.urls = _urls(self.id, ports, given["provider"] or self.provider, self.urls)

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],
        *,
        provider: str | None = None,
        account: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> Pod:
        """An existing pod, read and not managed: it is neither changed nor destroyed by this program."""
        return cls(
            resource_name,
            provider=provider,
            account=account,
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id)),
        )


def _urls(ident: Any, ports: Any, provider: Any, stored: Any) -> pulumi.Output[dict[str, str]]:
    """URLs from id and ports in the program process, so that an update of this pod changes nothing that uses them."""

    def derive(values: Sequence[Any]) -> Any:
        pod_id, asked, name = values
        if not asked:
            return stored
        from pulumi_atlas.models import Port
        from pulumi_atlas.providers import registry

        try:
            stable = getattr(registry.load(str(name)), "pod_urls", None)
            return stored if stable is None else stable(str(pod_id), [Port.model_validate(port) for port in asked])
        except Exception:  # noqa: BLE001  # not an id of that provider (a mocked test, an unknown provider): as stored
            return stored

    return pulumi.Output.all(ident, ports, provider).apply(derive)
