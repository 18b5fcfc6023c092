"""Volumes in a pod's working folder: symbolic links under the mount paths. All block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi_atlas.errors import Failure, ProviderFailure
from pulumi_atlas.models import ComputeSpec
from pulumi_atlas.providers.local._store import Store
from pulumi_atlas.providers.local._translate import mount_parts

__all__ = ["check_places", "data_folder", "link", "plan", "targets", "unlink"]


def data_folder(store: Store, volume_id: str) -> Path:
    """The folder that a volume is."""
    return store.folder("volumes", volume_id) / "data"


def targets(store: Store, spec: ComputeSpec) -> dict[str, str]:
    """Mount path → real folder."""
    return {mount: str(data_folder(store, volume)) for mount, volume in spec.volumes.items()}


def check_places(working_dir: Path, wanted: Mapping[str, str]) -> Iterator[Failure]:
    """A failure for each mount path where no link to its volume can be made."""
    for mount, target in wanted.items():
        place = working_dir.joinpath(*mount_parts(mount))
        for above in list(place.parents)[: len(mount_parts(mount)) - 1]:
            if above.is_symlink() or (above.exists() and not above.is_dir()):
                yield Failure(f"volumes.{mount}", f"{above} is not a plain folder", "choose another mount path")
                break
        else:
            if place.is_symlink() and str(place.readlink()) == target:
                continue
            if place.is_symlink() or place.exists():
                yield Failure(
                    f"volumes.{mount}", f"{place} is there already", "move it away, or choose another mount path"
                )


def plan(working_dir: Path, wanted: Mapping[str, str], old: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """A note of each link and of the folders to be made for it: recorded first, then made by `link`."""
    before = {(note["path"], note["target"]): note for note in old}
    notes = []
    for mount, target in wanted.items():
        place = working_dir.joinpath(*mount_parts(mount))
        note = {"path": str(place), "target": target, "folders": _missing_above(place, working_dir)}
        notes.append(dict(before.get((str(place), target), note)))
    return notes


def link(notes: Sequence[Mapping[str, Any]]) -> None:
    """Make the links that were planned. One that is there already is fine. Raises ProviderFailure."""
    try:
        for note in notes:
            place, target = Path(note["path"]), note["target"]
            place.parent.mkdir(parents=True, exist_ok=True)
            if not (place.is_symlink() and str(place.readlink()) == target):
                place.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise ProviderFailure(
            f"cannot link a volume at {error.filename2 or error.filename}: {error.strerror or error}",
            hint="check that the working folder is writable and the disk has room",
        ) from error


def unlink(notes: Sequence[Mapping[str, Any]], *, used_by_others: Iterable[str] = ()) -> None:
    """Remove links that are still ours, and the folders made for them that are empty. `used_by_others`: left alone."""
    kept = set(used_by_others)
    for note in notes:
        place = Path(note["path"])
        with contextlib.suppress(OSError):
            if str(place) not in kept and place.is_symlink() and str(place.readlink()) == note["target"]:
                place.unlink()
        for folder in note["folders"]:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _missing_above(place: Path, working_dir: Path) -> list[str]:
    """Folders between `working_dir` and `place` that are not there yet, the deepest first."""
    inner = [above for above in place.parents if above.is_relative_to(working_dir) and above != working_dir]
    return [str(above) for above in inner if not above.exists()]
