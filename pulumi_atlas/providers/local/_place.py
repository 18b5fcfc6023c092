"""Where `local` is: one folder of this machine, and the account that this makes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import platformdirs

from pulumi_atlas import processes
from pulumi_atlas.access import Access
from pulumi_atlas.providers.local._store import Store

__all__ = ["LocalPlace"]


class LocalPlace:
    """What pods, volumes, logs and endpoints of `local` have in common."""

    def __init__(self, access: Access) -> None:
        self._root = _folder(access)
        self._store = Store(self._root)

    async def identity(self) -> str:
        """`local:` and a digest of this machine and the provider's folder."""
        seed = f"{_machine()}\n{self._root.resolve()}"
        return f"local:{hashlib.sha256(seed.encode()).hexdigest()[:12]}"


def _folder(access: Access) -> Path:
    chosen = access.environ.get("ATLAS_LOCAL_DIR") or access.settings.get("dir")
    folder = Path(str(chosen)).expanduser() if chosen else Path(platformdirs.user_data_dir("pulumi_atlas")) / "local"
    return folder.absolute()


def _machine() -> str:
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            if text := Path(place).read_text(encoding="ascii").strip():
                return text
        except (OSError, ValueError):
            continue
    return processes.host_name()
