"""What things look like: as plain JSON values and as words for people. Secrets are masked here, and only here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_atlas.models import Compute, IssuedAccess, Job, ObservedEndpoint, ObservedVolume

__all__ = [
    "age",
    "compute",
    "compute_fields",
    "compute_row",
    "endpoint",
    "endpoint_fields",
    "endpoint_row",
    "job",
    "job_fields",
    "money",
    "text_of",
    "volume",
    "volume_fields",
    "volume_row",
]

MASK = "***"

COMPUTE_COLUMNS = ("ID", "NAME", "STATUS", "GPU", "REGION", "$/H", "AGE")
VOLUME_COLUMNS = ("ID", "NAME", "STATUS", "SIZE GB", "REGION", "USED BY", "AGE")
ENDPOINT_COLUMNS = ("ID", "NAME", "STATUS", "WORKERS", "GPU", "$/H", "AGE")

_SECRET_NAME = re.compile(r"(^|_)(api_?key|key|token|secret|password|authorization)$", re.IGNORECASE)


# -- JSON ------------------------------------------------------------------------------------------------------------


def compute(pod: Compute, *, show_secrets: bool) -> dict[str, Any]:
    """A pod for `--json`: all its fields, and `urls`. What was issued just now is shown: nobody can tell it again."""
    issued = {"auth": {**pod.auth.model_dump(mode="json"), "header": pod.auth.header}} if pod.auth else {}
    return {**_thing(pod, show_secrets), "urls": pod.urls, **issued}


def volume(thing: ObservedVolume, *, show_secrets: bool) -> dict[str, Any]:
    """A volume for `--json`."""
    return _thing(thing, show_secrets)


def endpoint(thing: ObservedEndpoint, *, show_secrets: bool) -> dict[str, Any]:
    """An endpoint for `--json`; `key` is masked."""
    return _thing(thing, show_secrets)


def job(thing: Job) -> dict[str, Any]:
    """A job for `--json`."""
    return thing.model_dump(mode="json")


def _thing(thing: Compute | ObservedVolume | ObservedEndpoint, show_secrets: bool) -> dict[str, Any]:
    plain = thing.model_dump(mode="json")
    plain["owner"] = str(thing.owner) if thing.owner else None
    return plain if show_secrets else masked(plain)


def masked(value: Any, name: str = "") -> Any:
    """The value with *** for everything under `env`, and for texts whose name says that they are secret."""
    if isinstance(value, Mapping):
        if name == "env":
            return dict.fromkeys(value, MASK)
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [MASK] * len(value) if name == "env" else [masked(inner) for inner in value]
    return MASK if isinstance(value, str) and value and _SECRET_NAME.search(name) else value


# -- rows ------------------------------------------------------------------------------------------------------------


def compute_row(pod: Compute, now: datetime) -> tuple[str, ...]:
    """A pod as a row under COMPUTE_COLUMNS."""
    price = money(pod.cost_per_hour)
    return (pod.id, pod.name or "", pod.status, _cards(pod), pod.region or "", price, age(pod.created_at, now))


def volume_row(thing: ObservedVolume, now: datetime) -> tuple[str, ...]:
    """A volume as a row under VOLUME_COLUMNS."""
    used = ", ".join(thing.attached_to)
    size, when = str(thing.size_gb), age(thing.created_at, now)
    return (thing.id, thing.name or "", thing.status, size, thing.region or "", used, when)


def endpoint_row(thing: ObservedEndpoint, now: datetime) -> tuple[str, ...]:
    """An endpoint as a row under ENDPOINT_COLUMNS."""
    spec = thing.spec
    gpu = ", ".join(spec.gpu) if spec else ""
    price, when = money(thing.cost_per_hour), age(thing.created_at, now)
    return (thing.id, thing.name or "", thing.status, _workers(thing), gpu, price, when)


# -- fields ----------------------------------------------------------------------------------------------------------


def compute_fields(pod: Compute, now: datetime, *, show_secrets: bool) -> list[tuple[str, str]]:
    """A pod as names and values."""
    spec = pod.spec
    return [
        ("id", pod.id),
        ("name", pod.name or ""),
        ("provider", pod.provider),
        ("status", _with_reason(pod.status, pod.reason)),
        ("exit code", "" if pod.exit_code is None else str(pod.exit_code)),
        ("urls", "\n".join(f"{port} → {url}" for port, url in pod.urls.items())),
        ("address", pod.public_ip or ""),
        ("gpu", _cards(pod)),
        ("cost", _cost(pod.cost_per_hour)),
        ("region", pod.region or ""),
        ("image", pod.image or ""),
        ("command", _command(spec.command) if spec else ""),
        ("volumes", "\n".join(f"{path} = {ident}" for path, ident in spec.volumes.items()) if spec else ""),
        ("env", _env(spec.env, show_secrets) if spec else ""),
        ("owner", str(pod.owner or "")),
        ("created", _created(pod.created_at, now)),
        *_issued(pod.auth),
    ]


def volume_fields(thing: ObservedVolume, now: datetime) -> list[tuple[str, str]]:
    """A volume as names and values."""
    return [
        ("id", thing.id),
        ("name", thing.name or ""),
        ("provider", thing.provider),
        ("status", thing.status),
        ("size", f"{thing.size_gb} GB"),
        ("region", thing.region or ""),
        ("used by", "\n".join(thing.attached_to)),
        ("folder", thing.path or ""),
        ("cost", _cost(thing.cost_per_hour)),
        ("owner", str(thing.owner or "")),
        ("created", _created(thing.created_at, now)),
    ]


def endpoint_fields(thing: ObservedEndpoint, now: datetime, *, show_secrets: bool) -> list[tuple[str, str]]:
    """An endpoint as names and values."""
    spec = thing.spec
    worker = (spec.handler or (_command(spec.command)) or spec.image or "") if spec else ""
    return [
        ("id", thing.id),
        ("name", thing.name or ""),
        ("provider", thing.provider),
        ("status", _with_reason(thing.status, thing.reason)),
        ("url", thing.url or ""),
        ("key", (thing.key if show_secrets else f"{MASK} (--show-secrets)") if thing.key else ""),
        ("worker", worker),
        ("workers", _workers(thing)),
        ("gpu", ", ".join(spec.gpu) if spec else ""),
        ("env", _env(spec.env, show_secrets) if spec else ""),
        ("cost", _cost(thing.cost_per_hour)),
        ("owner", str(thing.owner or "")),
        ("created", _created(thing.created_at, now)),
    ]


def job_fields(thing: Job) -> list[tuple[str, str]]:
    """A job as names and values."""
    return [
        ("id", thing.id),
        ("endpoint", thing.endpoint),
        ("status", thing.status),
        ("output", text_of(thing.output) if thing.output is not None else ""),
        ("error", text_of(thing.error) if thing.error is not None else ""),
        ("waited", _milliseconds(thing.delay_time_ms)),
        ("ran", _milliseconds(thing.execution_time_ms)),
        ("worker", thing.worker_id or ""),
        ("retries", str(thing.retries) if thing.retries else ""),
    ]


# -- words -----------------------------------------------------------------------------------------------------------


def money(price: float | None) -> str:
    """A price per hour: four digits after the point, with zeros beyond cents left out."""
    if price is None:
        return ""
    text = f"{price:.4f}".rstrip("0")
    whole, _, cents = text.partition(".")
    return f"{whole}.{cents.ljust(2, '0')}"


def age(created: datetime | None, now: datetime) -> str:
    """How long ago, in its largest unit: `5s`, `12m`, `3h`, `9d`."""
    if created is None:
        return ""
    seconds = max(0, int((now - _aware(created)).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size * (2 if unit == "d" else 1):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def text_of(value: Any) -> str:
    """A value of a job for a person: text as it is, anything else as compact JSON."""
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _created(created: datetime | None, now: datetime) -> str:
    if created is None:
        return ""
    moment = _aware(created).astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({age(created, now)} ago)"


def _with_reason(status: str, reason: str) -> str:
    return f"{status} ({reason})" if reason else status


def _cost(price: float | None) -> str:
    if price is None:
        return ""
    return f"${money(price)} per hour" if price else "nothing"


def _cards(pod: Compute) -> str:
    if not pod.gpu:
        return ""
    return f"{pod.gpu_count} x {pod.gpu}" if pod.gpu_count > 1 else pod.gpu


def _workers(thing: ObservedEndpoint) -> str:
    return f"{thing.spec.workers.min} to {thing.spec.workers.max}" if thing.spec else ""


def _command(words: Sequence[str] | None) -> str:
    import shlex

    return shlex.join(words) if words else ""


def _issued(auth: IssuedAccess | None) -> list[tuple[str, str]]:
    """What lets visitors in, just after it was minted."""
    if auth is None:
        return []
    return [("token", auth.token), ("signing key", auth.signing_key or ""), ("signing kid", auth.signing_kid or "")]


def _env(env: Mapping[str, str], show_secrets: bool) -> str:
    return "\n".join(f"{name}={value if show_secrets else MASK}" for name, value in sorted(env.items()))


def _milliseconds(span: int | None) -> str:
    return "" if span is None else f"{span / 1000:.3f} s"
