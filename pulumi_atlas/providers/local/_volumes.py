"""Volumes on this computer: folders that outlive the pods that mount them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar

from pulumi_atlas import files
from pulumi_atlas.errors import Conflict, Failure, InvalidSpec, NotFound
from pulumi_atlas.ids import Birth, Owner, Tag, VolumeId
from pulumi_atlas.models import Listing, ObservedVolume, VolumeSpec
from pulumi_atlas.providers.contract import Change
from pulumi_atlas.providers.local import _links
from pulumi_atlas.providers.local._place import LocalPlace
from pulumi_atlas.providers.local._records import PodRecords, Record
from pulumi_atlas.providers.local._translate import check_volume_spec
from pulumi_atlas.providers.local._waiting import finish, hold, speaking

__all__ = ["LocalVolumes"]


class LocalVolumes(LocalPlace):
    """Volumes as folders. `size_gb` is recorded and reported, but not enforced: the disk is shared with everything else."""

    _pods: PodRecords

    volume_changes: ClassVar[Mapping[str, Change]] = MappingProxyType({"size_gb": "in_place", "name": "in_place"})

    async def create_volume(self, spec: VolumeSpec, tag: Tag) -> ObservedVolume:
        """Make an empty folder. Raises InvalidSpec, ProviderFailure; when it fails, nothing is left behind."""
        account = await self.identity()
        with speaking("create_volume"):
            record = await finish(self._create_volume, spec, tag)
            return self._observed_volume(record, account, ())

    async def get_volume(self, volume_id: VolumeId) -> ObservedVolume:
        """The volume as it is now. Raises NotFound."""
        account = await self.identity()
        with speaking("get_volume"):
            record = await finish(self._known_volume, volume_id)
            users = await finish(self._users)
            return self._observed_volume(record, account, users.get(volume_id, ()))

    async def list_volumes(self) -> Listing[ObservedVolume]:
        """All volumes in the provider's folder."""
        account = await self.identity()
        with speaking("list_volumes"):
            records = await finish(self._all_volumes)
            users = await finish(self._users)
            return Listing(tuple(self._observed_volume(r, account, users.get(r["id"], ())) for r in records), account)

    async def update_volume(self, volume_id: VolumeId, spec: VolumeSpec) -> ObservedVolume:
        """Make `spec` the volume's spec. Raises NotFound, and InvalidSpec when it would shrink."""
        account = await self.identity()
        with speaking("update_volume"):
            self._known_volume(volume_id)
            async with hold(self._store, "volumes", volume_id):
                record = self._known_volume(volume_id)
                record = await finish(self._change_volume, record, spec)
            users = await finish(self._users)
            return self._observed_volume(record, account, users.get(volume_id, ()))

    async def delete_volume(self, volume_id: VolumeId) -> None:
        """Delete the folder with all it holds. Raises NotFound; Conflict, naming them, while pods mount it."""
        with speaking("delete_volume"):
            self._known_volume(volume_id)
            async with hold(self._store, "volumes", volume_id):
                self._known_volume(volume_id)
                if users := (await finish(self._users)).get(volume_id):
                    raise Conflict(
                        f"volume {volume_id} is mounted by {', '.join(users)}",
                        hint="terminate or change these pods first",
                    )
                await finish(self._store.remove, "volumes", volume_id)

    # -- records -------------------------------------------------------------------------------------------------------

    def _create_volume(self, spec: VolumeSpec, tag: Tag) -> Record:
        if failures := list(check_volume_spec(spec)):
            raise InvalidSpec(failures)
        volume_id = f"vol-{secrets.token_hex(6)}"
        record: Record = {
            "id": volume_id,
            "birth": tag.birth,
            "owner": str(tag.owner),
            "spec": spec.model_dump(mode="json"),
            "created_at": time.time(),
        }
        with self._store.locked("volumes", volume_id):
            try:
                files.make_private_folder(self._store.folder("volumes", volume_id))
                files.make_private_folder(_links.data_folder(self._store, volume_id))
                self._store.write("volumes", volume_id, record)
            except BaseException:
                self._store.remove("volumes", volume_id)
                raise
        return record

    def _change_volume(self, record: Record, spec: VolumeSpec) -> Record:
        failures = list(check_volume_spec(spec))
        old = VolumeSpec.model_validate(record["spec"])
        if spec.size_gb < old.size_gb:
            message = f"a volume cannot shrink, from {old.size_gb} GB to {spec.size_gb} GB"
            failures.append(Failure("size_gb", message, "make another volume and copy what you need"))
        if failures:
            raise InvalidSpec(failures)
        new = record | {"spec": spec.model_dump(mode="json")}
        self._store.write("volumes", record["id"], new)
        return new

    def _known_volume(self, volume_id: str) -> Record:
        record = self._store.read("volumes", volume_id)
        if record is None:
            raise NotFound(f"there is no volume '{volume_id}'", hint="see: atlas volumes list --provider local")
        return record

    def _all_volumes(self) -> list[Record]:
        self._store.sweep("volumes")
        return self._store.all("volumes")

    def _users(self) -> Mapping[str, tuple[str, ...]]:
        """Ids of the pods that are not gone, by the volume that they mount."""
        users: dict[str, list[str]] = {}
        for pod in self._store.all("pods"):
            mounted = set(pod["spec"].get("volumes", {}).values())
            if mounted and not self._pods.remove_if_over(pod):
                for volume in mounted:
                    users.setdefault(volume, []).append(pod["id"])
        return {volume: tuple(pods) for volume, pods in users.items()}

    def _observed_volume(self, record: Mapping[str, Any], account: str, users: tuple[str, ...]) -> ObservedVolume:
        spec = VolumeSpec.model_validate(record["spec"])
        return ObservedVolume(
            id=record["id"],
            provider="local",
            account=account,
            name=spec.name,
            size_gb=spec.size_gb,
            birth=Birth(record["birth"]),
            owner=Owner.parse(record["owner"]),
            cost_per_hour=0.0,
            attached_to=users,
            path=str(_links.data_folder(self._store, record["id"])),
            created_at=datetime.fromtimestamp(record["created_at"], UTC),
        )
