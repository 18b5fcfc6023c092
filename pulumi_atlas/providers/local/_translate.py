"""Between specs, records and what is observed. Pure: decides over values, touches nothing."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel

from pulumi_atlas.errors import Failure
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.models import Compute, ComputeSpec, ComputeStatus, ObservedPort, Port, VolumeSpec

__all__ = [
    "DEFAULT_GRACE_S",
    "Sight",
    "check_spec",
    "check_volume_spec",
    "compute_from",
    "environment_for",
    "foreign_fields",
    "grace_of",
    "is_over",
    "mount_parts",
    "pod_urls",
    "status_of",
]

DEFAULT_GRACE_S = 10.0

_POD_ID = re.compile(r"pod-[0-9a-f]{12}((?:-\d{1,5})*)")
_OUR_NAMES = re.compile(r"PORT(_\d+)?|ATLAS_(POD_ID|BIRTH|VOLUMES)")
_KEYS_OF_CLOUDS = frozenset(
    {"RUNPOD_API_KEY", "FLY_API_TOKEN", "FLY_ACCESS_TOKEN", "LAMBDA_LABS_API_KEY", "LAMBDA_API_KEY", "VAST_API_KEY"}
)
_OPTIONS = ("grace_s",)


@dataclass(frozen=True)
class Sight:
    """What is seen of a pod's processes now. `exit`: the note of its present run; `alive`: the process above its command."""

    alive: bool = False
    rebooted: bool = False
    elsewhere: str = ""
    writer_alive: bool = False
    exit: Mapping[str, Any] | None = None
    command: Mapping[str, Any] = field(default_factory=dict)
    shim_pid: int | None = None


# -- ids and urls ----------------------------------------------------------------------------------------------------


def pod_urls(pod_id: str, ports: Sequence[Port]) -> dict[str, str]:
    """URLs by port number: the id ends with the host ports in the order asked. Raises ValueError on a foreign id."""
    found = _POD_ID.fullmatch(pod_id)
    numbers = [part for part in found[1].split("-") if part] if found else []
    if not found or len(numbers) != len(ports):
        raise ValueError(f"{pod_id!r} is not the id of a local pod with {len(ports)} ports")
    return {str(port.number): f"{port.protocol}://127.0.0.1:{host}" for port, host in zip(ports, numbers, strict=True)}


# -- what is refused -------------------------------------------------------------------------------------------------


def foreign_fields(spec: BaseModel, accepts: frozenset[str], reasons: Mapping[str, str]) -> Iterator[Failure]:
    """A failure for each field that is set although this provider cannot honour it."""
    for name, info in type(spec).model_fields.items():
        if name not in accepts and getattr(spec, name) != info.get_default(call_default_factory=True):
            yield Failure(name, reasons.get(name, "the local provider has no such setting"), "leave it out")


def check_spec(spec: ComputeSpec) -> Iterator[Failure]:
    """Everything that is wrong with a spec and can be told without looking at the machine."""
    if spec.command is None:
        yield Failure("command", "the local provider runs a command, and none is given", 'such as ["python", "app.py"]')
    elif any("\x00" in part for part in spec.command):
        yield Failure("command", "holds a NUL byte")
    seen: set[int] = set()
    for index, port in enumerate(spec.ports):
        if port.number in seen:
            yield Failure(f"ports[{index}]", f"port {port.number} is given twice")
        seen.add(port.number)
    for name, value in spec.env.items():
        if _OUR_NAMES.fullmatch(name):
            yield Failure(f"env.{name}", "is set by the local provider itself", "choose another name")
        elif "\x00" in value:
            yield Failure(f"env.{name}", "holds a NUL byte")
    yield from _check_mounts(spec)
    yield from _check_options(spec.provider_options)


def check_volume_spec(spec: VolumeSpec) -> Iterator[Failure]:
    """The same for a volume."""
    if spec.region is not None:
        yield Failure("region", "this computer has no regions", "leave it out")
    for name in spec.provider_options:
        yield Failure(f"provider_options.{name}", "the local provider has no options for volumes", "leave it out")


def _check_mounts(spec: ComputeSpec) -> Iterator[Failure]:
    mounts: dict[tuple[str, ...], str] = {}
    for mount in spec.volumes:
        parts = mount_parts(mount)
        path = f"volumes.{mount}"
        if not parts or ".." in parts:
            yield Failure(path, "is no place below the working folder", "write a path such as '/data'")
        elif parts in mounts:
            yield Failure(path, f"is the same place as '{mounts[parts]}'", "mount one volume at each place")
        else:
            mounts[parts] = mount
    for parts, mount in mounts.items():
        for above in (parts[:depth] for depth in range(1, len(parts))):
            if above in mounts:
                yield Failure(
                    f"volumes.{mount}", f"lies inside the volume at '{mounts[above]}'", "choose another place"
                )


def _check_options(options: Mapping[str, Any]) -> Iterator[Failure]:
    for name, value in options.items():
        if name not in _OPTIONS:
            yield Failure(f"provider_options.{name}", "is no option of the local provider", "known: grace_s")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            yield Failure(f"provider_options.{name}", "must be a number of seconds, 0 or more")
        elif value > 3600:
            yield Failure(f"provider_options.{name}", "must be at most 3600 seconds")


def mount_parts(mount: str) -> tuple[str, ...]:
    """A mount path's parts below the working folder."""
    return tuple(part for part in PurePosixPath(mount).parts if part not in ("/", "//", "."))


def grace_of(spec: ComputeSpec) -> float:
    """Seconds between TERM and KILL."""
    return float(spec.provider_options.get("grace_s", DEFAULT_GRACE_S))


# -- the command's environment ---------------------------------------------------------------------------------------


def environment_for(
    base: Mapping[str, str],
    spec: ComputeSpec,
    *,
    root: str,
    pod_id: str,
    birth: str,
    host_ports: Sequence[int],
    volumes: str,
) -> dict[str, str]:
    """What the command gets: `base` without our own settings and clouds' keys, the user's `env`, and what we tell it.

    `ATLAS_LOCAL_DIR` is the provider's folder, so that an `atlas` in the pod sees the cloud that it runs in.
    """
    kept = {name: value for name, value in base.items() if not _is_private(name)}
    told = {"ATLAS_POD_ID": pod_id, "ATLAS_BIRTH": birth, "ATLAS_VOLUMES": volumes}
    for index, (port, host) in enumerate(zip(spec.ports, host_ports, strict=True)):
        told[f"PORT_{port.number}"] = str(host)
        if index == 0:
            told["PORT"] = str(host)
    return {**kept, "ATLAS_LOCAL_DIR": root, **spec.env, **told}


def _is_private(name: str) -> bool:
    return name.startswith(("PULUMI_", "ATLAS_")) or name in _KEYS_OF_CLOUDS or name == "PORT"


# -- what is observed ------------------------------------------------------------------------------------------------


def status_of(record: Mapping[str, Any], sight: Sight) -> tuple[ComputeStatus, str, int | None]:
    """Status, reason and exit code of a pod from its record and what is seen of its processes.

    ::

        provisioning ──> running ──> finished   exit code 0, or max_lifetime_s is over
                            │  └───> failed     any other end, a killed process group, another boot
                            └──────> stopped    by `stop`, or by its end with on_exit="stop"
    """
    note = sight.exit
    code = note.get("code") if note else None
    if note is None and sight.elsewhere:
        return "running", f"it was started on {sight.elsewhere}; from here it cannot be seen", None
    if sight.alive and (note is None or record["phase"] == "restarting"):
        return "running", "", None
    if note is None and record["phase"] == "starting" and sight.shim_pid is None and sight.writer_alive:
        return "provisioning", "", None
    if record["phase"] == "restarting" and sight.writer_alive:
        return "provisioning", "it is being restarted", None
    if record["desired"] == "stopped":
        by_itself = note is not None and note.get("reason") != "terminated"
        return "stopped", "", code if by_itself else None
    if note is None:
        return "failed", _unnoted_end(record, sight), None
    reason = str(note.get("reason") or "")
    if reason == "max_lifetime_s":
        lifetime = record["spec"].get("max_lifetime_s")
        return (
            "finished",
            f"it reached max_lifetime_s ({lifetime:g} s)" if lifetime else "it reached max_lifetime_s",
            code,
        )
    if record["spec"].get("on_exit") == "stop":
        return "stopped", "its command ended" if code == 0 else _bad_end(code, reason), code
    return ("finished", "", 0) if code == 0 else ("failed", _bad_end(code, reason), code)


def is_over(record: Mapping[str, Any], status: ComputeStatus, sight: Sight) -> bool:
    """Whether the pod is to be removed because its command ended and `on_exit` is `terminate`."""
    return status in ("finished", "failed") and sight.exit is not None and record["spec"].get("on_exit") == "terminate"


def compute_from(record: Mapping[str, Any], sight: Sight, *, account: str, folder: str) -> Compute:
    """The pod as it is observed."""
    status, reason, code = status_of(record, sight)
    spec = ComputeSpec.model_validate(record["spec"])
    urls = pod_urls(record["id"], spec.ports)
    hosts = record["host_ports"]
    return Compute(
        id=record["id"],
        provider="local",
        account=account,
        status=status,
        name=spec.name,
        birth=Birth(record["birth"]),
        owner=Owner.parse(record["owner"]),
        spec=spec,
        reason=reason,
        exit_code=code,
        ports=tuple(
            ObservedPort(internal=p.number, external=h, protocol=p.protocol, url=urls[str(p.number)])
            for p, h in zip(spec.ports, hosts, strict=True)
        ),
        cost_per_hour=0.0,
        created_at=datetime.fromtimestamp(record["created_at"], UTC),
        raw={
            "pid": sight.command.get("pid") if status == "running" else None,
            "shim_pid": sight.shim_pid if status == "running" else None,
            "folder": folder,
            "working_dir": record["working_dir"],
            "host_ports": {str(p.number): h for p, h in zip(spec.ports, hosts, strict=True)},
            "run": record["run"],
        },
    )


def _unnoted_end(record: Mapping[str, Any], sight: Sight) -> str:
    if sight.rebooted:
        return "the machine restarted"
    if record["phase"] == "starting" and sight.shim_pid is None:
        return "its start was interrupted"
    return "its processes were killed"


def _bad_end(code: int | None, reason: str) -> str:
    if reason.startswith("it could not be executed"):
        return reason
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"its command was ended by signal {-code} ({name})"
    return f"its command ended with exit code {code}"
