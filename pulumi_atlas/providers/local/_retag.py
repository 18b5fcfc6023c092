"""Who owns a thing on this computer: noted in its record, and changed there."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_atlas.errors import Conflict, NotFound
from pulumi_atlas.ids import Tag
from pulumi_atlas.providers.contract import ThingKind
from pulumi_atlas.providers.local._place import LocalPlace
from pulumi_atlas.providers.local._store import Kind
from pulumi_atlas.providers.local._waiting import finish, hold, speaking

__all__ = ["LocalRetag"]

_TABLES: Mapping[ThingKind, Kind] = {"pod": "pods", "volume": "volumes", "endpoint": "endpoints"}


class LocalRetag(LocalPlace):
    """Changes of owner. The birth stays: it is in the environment of the thing's processes."""

    async def retag(self, kind: ThingKind, ident: str, tag: Tag) -> None:
        """Note the tag's owner. Raises NotFound, and Conflict when the thing has another birth."""
        with speaking("retag"):
            table = _TABLES[kind]
            await finish(self._check_tag, table, kind, ident, tag)
            async with hold(self._store, table, ident):
                await finish(self._write_owner, table, kind, ident, tag)

    def _check_tag(self, table: Kind, kind: ThingKind, ident: str, tag: Tag) -> dict[str, object]:
        record = self._store.read(table, ident)
        if record is None:
            raise NotFound(f"there is no {kind} '{ident}'", hint="check its id and kind")
        if record["birth"] != tag.birth:
            raise Conflict(f"{kind} {ident} has another birth", hint="it is not the thing that was meant; look again")
        return record

    def _write_owner(self, table: Kind, kind: ThingKind, ident: str, tag: Tag) -> None:
        record = self._check_tag(table, kind, ident, tag)
        self._store.write(table, ident, {**record, "owner": str(tag.owner)})
