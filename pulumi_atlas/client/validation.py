"""Everything that can be said about an input without the network: the model, the provider's abilities, the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from pulumi_atlas import gpus
from pulumi_atlas.client.opened import endpoint_traits, pod_traits
from pulumi_atlas.errors import ConfigError, Failure, InvalidSpec
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES, Provider
from pulumi_atlas.rules import validation
from pulumi_atlas.rules.unknown import holds_unknown

__all__ = ["check_endpoint", "check_pod", "check_volume", "parse_for"]

M = TypeVar("M", bound=BaseModel)


def check_pod(model: type[BaseModel], raw: Mapping[str, Any]) -> list[Failure]:
    """All failures of a pod's arguments (or spec); `raw["provider"]` names the provider."""
    provider, found = _provider(raw)
    found += validation.failures_of(model, raw)
    if provider is None:
        return found
    found += validation.unsupported_fields(model, _less(raw, "on_exit", "max_lifetime_s"), pod_traits(provider))
    found += _gpu_failures(raw, provider)
    found += _power_failures(raw, provider)
    found += _auth_failures(raw, provider)
    found += _overriding_options(raw)
    if raw.get("volumes"):
        found += _ability_failures(provider, "volumes", "volumes")
    if raw.get("max_lifetime_s") is not None:
        found += _ability_failures(provider, "provider_ttl", "max_lifetime_s")
    return found + _own_failures(ComputeSpec, raw, provider, found)


def check_volume(model: type[BaseModel], raw: Mapping[str, Any]) -> list[Failure]:
    """All failures of a volume's arguments."""
    provider, found = _provider(raw)
    found += validation.failures_of(model, raw)
    if provider is None:
        return found
    found += _ability_failures(provider, "volumes", "provider")
    if raw.get("region") and "regions" not in provider.accepts:
        reason = provider.reasons.get("regions", f"provider '{provider.name}' has no regions")
        found.append(Failure("region", f"not possible with provider '{provider.name}'", reason))
    return found + _own_failures(VolumeSpec, raw, provider, found)


def check_endpoint(model: type[BaseModel], raw: Mapping[str, Any]) -> list[Failure]:
    """All failures of an endpoint's arguments."""
    provider, found = _provider(raw)
    found += validation.failures_of(model, raw)
    found += _worker_failures(raw)
    if provider is None:
        return found
    found += _ability_failures(provider, "endpoints", "provider")
    if not hasattr(provider, ABILITIES["endpoints"][1]):
        return found
    found += validation.unsupported_fields(model, raw, endpoint_traits(provider))
    found += _gpu_failures(raw, provider)
    return found + _own_failures(EndpointSpec, raw, provider, found)


def parse_for(model: type[M], raw: Mapping[str, Any], provider: str) -> M:
    """A spec for the imperative verbs. Raises InvalidSpec with every failure, and ConfigError for an unknown provider."""
    registry.load(provider)
    check = check_endpoint if issubclass(model, EndpointSpec) else check_pod
    if "size_gb" in model.model_fields:
        check = check_volume
    given = {name: value for name, value in raw.items() if value is not None}
    found = [f for f in check(model, {**given, "provider": provider}) if f.path != "provider"]
    if found:
        raise InvalidSpec(found, provider=provider)
    return validation.parse(model, given)


def _provider(raw: Mapping[str, Any]) -> tuple[type[Provider] | None, list[Failure]]:
    name = raw.get("provider")
    if not isinstance(name, str) or not name:
        return None, []
    try:
        return registry.load(name), []
    except ConfigError as error:
        return None, [Failure("provider", error.message, error.hint)]


def _own_failures(
    spec: type[BaseModel], raw: Mapping[str, Any], provider: Any, found: Sequence[Failure]
) -> list[Failure]:
    """What the provider itself finds wrong with the known part of a spec that is otherwise right."""
    if not hasattr(provider, ABILITIES["spec_check"][1]):
        return []
    unknown = {name for name, value in raw.items() if holds_unknown(value)}
    hidden = unknown | {failure.path.partition(".")[0].partition("[")[0] for failure in found}
    known = {name: value for name, value in raw.items() if name in spec.model_fields and name not in hidden}
    try:
        values = spec.model_validate(known)
    except ValueError:
        return []  # it lacks what is not known yet
    own = (failure for failure in provider.check_spec(values))
    return [failure for failure in own if failure.path.partition(".")[0].partition("[")[0] not in hidden]


def _less(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}


def _ability_failures(provider: type[Provider], ability: str, path: str) -> list[Failure]:
    if hasattr(provider, ABILITIES[ability][1]):
        return []
    reason = provider.reasons.get(ability) or provider.reasons.get(path) or "`atlas providers` shows who can"
    return [Failure(path, f"provider '{provider.name}' has no {ability.replace('_', ' ')}", reason)]


def _power_failures(raw: Mapping[str, Any], provider: type[Provider]) -> Iterator[Failure]:
    if raw.get("desired_status") == "stopped":
        yield from _ability_failures(provider, "stop", "desired_status")
    choice = raw.get("on_exit")
    choices = getattr(provider, "on_exit_choices", frozenset({"keep"}))
    if isinstance(choice, str) and choice in ("keep", "stop", "terminate", "restart") and choice not in choices:
        reason = provider.reasons.get("on_exit") or f"possible: {', '.join(sorted(choices))}"
        yield Failure("on_exit", f"provider '{provider.name}' cannot enforce '{choice}'", reason)


def _auth_failures(raw: Mapping[str, Any], provider: type[Provider]) -> Iterator[Failure]:
    if raw.get("auth") is None or "env" in provider.accepts:
        return
    reason = (
        provider.reasons.get("auth") or "it takes no environment, so that a pod cannot be told what verifies visitors"
    )
    yield Failure("auth", f"not possible with provider '{provider.name}'", reason)


def _overriding_options(raw: Mapping[str, Any]) -> Iterator[Failure]:
    """What would replace an argument, and with `env` what verifies visitors, at the provider's own door."""
    options = raw.get("provider_options")
    for name in options if isinstance(options, Mapping) else ():
        if name in ComputeSpec.model_fields:
            yield Failure(f"provider_options.{name}", f"would replace the argument {name}=", f"write {name}=… instead")


def _gpu_failures(raw: Mapping[str, Any], provider: type[Provider]) -> Iterator[Failure]:
    wanted = raw.get("gpu")
    if holds_unknown(wanted) or not isinstance(wanted, list | tuple) or "gpu" not in provider.accepts:
        return
    for index, name in enumerate(wanted):
        try:
            if isinstance(name, str):
                gpus.find(name)
        except InvalidSpec as error:
            yield from (replace(failure, path=f"gpu[{index}]") for failure in error.failures)


def _worker_failures(raw: Mapping[str, Any]) -> Iterator[Failure]:
    given = [name for name in ("handler", "command", "image") if raw.get(name) is not None]
    if not given:
        yield Failure("handler", "is required", "name the worker by one of handler=, command= or image=")
    elif len(given) > 1 and "image" not in given:
        yield Failure(given[1], f"cannot be given together with {given[0]}", "one of handler=, command= or image=")
