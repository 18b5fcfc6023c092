"""Volumes of the mock cloud."""

from __future__ import annotations

from datetime import UTC, datetime

from pulumi_atlas.errors import Conflict, Failure, InvalidSpec
from pulumi_atlas.ids import Birth, Owner, Tag
from pulumi_atlas.models import ObservedVolume, VolumeSpec
from pulumi_atlas.providers.mock._catalog import volume_price
from pulumi_atlas.providers.mock._pods import REGION, phase
from pulumi_atlas.providers.mock._state import PROVIDER, Row, State

__all__ = ["create", "delete", "observe", "update"]


def create(state: State, now: float, spec: VolumeSpec, tag: Tag | None, account: str) -> tuple[str, Row]:
    """Make a volume. Raises InvalidSpec."""
    _refuse_options(spec)
    row: Row = {
        "account": account,
        "birth": tag.birth if tag else None,
        "owner": str(tag.owner) if tag else None,
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "created_at": now,
    }
    ident = state.new_id("volumes")
    return ident, state.put("volumes", ident, row)


def observe(state: State, ident: str, row: Row, now: float) -> ObservedVolume:
    """The row as the provider shows it."""
    spec = VolumeSpec.model_validate(row["spec"])
    return ObservedVolume(
        id=ident,
        provider=PROVIDER,
        account=row["account"],
        name=spec.name,
        size_gb=spec.size_gb,
        region=spec.region or REGION,
        birth=Birth(row["birth"]) if row["birth"] else None,
        owner=Owner.parse(row["owner"]) if row["owner"] else None,
        cost_per_hour=volume_price(spec.size_gb),
        attached_to=_attached_to(state, ident, row["account"], now),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        raw={"id": ident},
    )


def update(state: State, volume_id: str, account: str, spec: VolumeSpec) -> Row:
    """Rename or grow it. Raises NotFound, InvalidSpec on shrinking, Conflict on another region."""
    row = state.row("volumes", volume_id, account)
    _refuse_options(spec)
    old = VolumeSpec.model_validate(row["spec"])
    if spec.size_gb < old.size_gb:
        message = f"a volume cannot shrink from {old.size_gb} to {spec.size_gb} GB"
        raise InvalidSpec([Failure("size_gb", message, "make a new volume and copy")], provider=PROVIDER)
    if (spec.region or REGION) != (old.region or REGION):
        raise Conflict(
            f"volume '{volume_id}' cannot move to another region", provider=PROVIDER, hint="make a new volume there"
        )
    return state.put("volumes", volume_id, {**row, "spec": spec.model_dump(mode="json", exclude_defaults=True)})


def delete(state: State, now: float, volume_id: str, account: str) -> None:
    """Delete it. Raises NotFound, and Conflict while a pod mounts it."""
    state.row("volumes", volume_id, account)
    users = _attached_to(state, volume_id, account, now)
    if users:
        raise Conflict(
            f"volume '{volume_id}' is mounted by {', '.join(users)}",
            provider=PROVIDER,
            hint="terminate those pods first",
        )
    state.drop("volumes", volume_id)


def _attached_to(state: State, volume_id: str, account: str, now: float) -> tuple[str, ...]:
    return tuple(
        ident
        for ident, row in state.rows("pods", account)
        if volume_id in row["spec"].get("volumes", {}).values() and phase(row, now).status != "terminated"
    )


def _refuse_options(spec: VolumeSpec) -> None:
    if spec.provider_options:
        failures = [Failure(f"provider_options.{name}", "mock has no such option") for name in spec.provider_options]
        raise InvalidSpec(failures, provider=PROVIDER)
