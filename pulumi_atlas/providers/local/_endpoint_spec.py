"""What an endpoint of `local` may ask for, and what its supervisor and workers are told. Pure."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import Failure, InvalidSpec
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.models import EndpointSpec
from pulumi_atlas.providers.local._supervisor._settings import Options, Settings

__all__ = [
    "ENDPOINT_ACCEPTS",
    "ENDPOINT_CHANGES",
    "check",
    "failures_of",
    "inherited",
    "owner_of",
    "port_of",
    "settings_for",
    "worker_file",
]

ENDPOINT_ACCEPTS = frozenset(
    {
        "name",
        "handler",
        "command",
        "workers",
        "env",
        "working_dir",
        "execution_timeout_s",
        "queue_ttl_s",
        "max_retries",
        "provider_options",
    }
)

ENDPOINT_CHANGES: Mapping[str, Any] = {
    "name": "in_place",
    "workers": "in_place",
    "execution_timeout_s": "in_place",
    "queue_ttl_s": "in_place",
    "max_retries": "in_place",
    "env": "restart",
    "handler": "restart",
    "command": "restart",
    "working_dir": "restart",
    "provider_options": "restart",
}

_REASONS = {
    "gpu": "this computer's GPUs are not rented out; local workers see all of them",
    "gpu_count": "this computer's GPUs are not rented out; local workers see all of them",
    "image": "local workers are plain processes, not containers; give handler or command",
}

_ID = re.compile(r"ep-[0-9a-f]{12}-([1-9]\d{0,4})")
_OPTIONS = tuple(sorted(each.name for each in fields(Options)))
_OURS = re.compile(
    r"ATLAS_(BIRTH|ENDPOINT_ID|SUPERVISOR_RUN|LOCAL_DIR)|RUNPOD_(POD_ID|ENDPOINT_ID|AI_API_KEY|PING_INTERVAL|WEBHOOK_\w+)"
)
_KEYS_OF_CLOUDS = re.compile(r"(RUNPOD|FLY|LAMBDA|LAMBDA_LABS|VAST|PULUMI)_\w+|ATLAS_\w+|PORT")


def port_of(endpoint_id: str) -> int:
    """The port in an endpoint's id. Raises ValueError on a foreign id."""
    found = _ID.fullmatch(endpoint_id)
    if found is None or int(found[1]) > 65535:
        raise ValueError(f"not an endpoint of the local provider: {endpoint_id!r}")
    return int(found[1])


def check(spec: EndpointSpec, operation: str) -> None:
    """Raise InvalidSpec with everything that is wrong with the spec as far as its values tell."""
    failures = list(failures_of(spec))
    if failures:
        raise InvalidSpec(failures, provider="local", operation=operation)


def settings_for(spec: EndpointSpec, record: Mapping[str, Any], folder: Path) -> Settings:
    """What the supervisor is told."""
    return Settings(
        endpoint=record["id"],
        port=record["port"],
        key=record["key"],
        control_key=record["control_key"],
        birth=record["birth"],
        worker=_worker_command(spec),
        working_dir=str(Path(spec.working_dir).expanduser().absolute() if spec.working_dir else folder / "work"),
        env=dict(spec.env),
        min=spec.workers.min,
        max=spec.workers.max,
        idle_timeout_s=spec.workers.idle_timeout_s,
        execution_timeout_s=spec.execution_timeout_s,
        queue_ttl_s=spec.queue_ttl_s,
        max_retries=spec.max_retries,
        options=Options(**{**asdict(Options()), **spec.provider_options}),
    )


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What supervisor and workers get of the creator's environment: not our settings, nor clouds' settings and keys."""
    return {name: value for name, value in environ.items() if not _KEYS_OF_CLOUDS.fullmatch(name)}


def owner_of(record: Mapping[str, Any]) -> tuple[Birth, Owner]:
    return Birth(record["birth"]), Owner.parse(record["owner"])


def worker_file() -> str:
    """Our own worker's program."""
    return str(Path(__file__).with_name("_worker.py"))


def _worker_command(spec: EndpointSpec) -> tuple[str, ...]:
    if spec.command is not None:
        return spec.command
    return (sys.executable, "-P", worker_file(), str(spec.handler))


def failures_of(spec: EndpointSpec) -> Iterator[Failure]:
    if (spec.handler is None) == (spec.command is None):
        both = "both are given" if spec.handler else "none is given"
        yield Failure(
            "handler", f"give exactly one of handler and command; {both}", 'such as handler="module:function"'
        )
    for name in sorted(set(EndpointSpec.model_fields) - ENDPOINT_ACCEPTS):
        if getattr(spec, name) != EndpointSpec.model_fields[name].get_default(call_default_factory=True):
            yield Failure(name, _REASONS.get(name, "the local provider cannot honour this"), "leave it out")
    for name, value in spec.env.items():
        if _OURS.fullmatch(name):
            yield Failure(f"env.{name}", "this variable is set by the provider", "choose another name")
        if "\x00" in value:
            yield Failure(f"env.{name}", "the value holds a NUL character", "remove it")
    if spec.command is not None and any("\x00" in part for part in spec.command):
        yield Failure("command", "holds a NUL character", "remove it")
    yield from _option_failures(spec.provider_options)


def _option_failures(options: Mapping[str, Any]) -> Iterator[Failure]:
    for name, value in options.items():
        path = f"provider_options.{name}"
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_OPTIONS)}"
            yield Failure(path, "the local provider has no such option for endpoints", hint)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 7 * 86_400:
            yield Failure(path, "must be seconds, more than 0 and at most 7 days", "give a number")
        elif not math.isfinite(value):
            yield Failure(path, "must be a finite number of seconds", "give a number")
