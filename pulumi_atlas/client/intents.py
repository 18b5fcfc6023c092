"""Durable notes of creations: written before the request that costs money, removed when the engine is known to know.

One file for each birth in `<state dir>/intents`. States: *open* (the request may have been sent) → *answered* (usable,
its id handed to the caller) → closed (the file is gone). Whatever kills the writer, the note says what to look for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pulumi_atlas import files, processes
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.rules.ownership import IntentState, Leftover

__all__ = ["Intent", "IntentBook", "KindName"]

KindName = Literal["pod", "volume", "endpoint"]


@dataclass(frozen=True)
class Intent:
    """One creation. `account` is the profile's name, `identity` the account it reached; times are seconds since the epoch."""

    birth: Birth
    owner: Owner
    kind: KindName
    provider: str
    account: str | None
    identity: str
    name: str
    spec_hash: str
    writer: processes.ProcessIdentity
    state: IntentState = "open"
    thing_id: str | None = None
    written_at: float = 0.0
    folder: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """The note's content; it holds no argument of the user's and no key."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {"version": 1, **plain, "owner": str(self.owner), "writer": self.writer.as_json()}

    @classmethod
    def from_json(cls, fields: Any) -> Intent:
        """Raises AttributeError, KeyError, TypeError or ValueError on a damaged note."""
        plain = {name: fields[name] for name in _PLAIN}
        writer = processes.ProcessIdentity.from_json(fields["writer"])
        return cls(**plain, owner=Owner.parse(fields["owner"]), writer=writer)


_PLAIN = (
    *("birth", "kind", "provider", "account", "identity", "name", "spec_hash"),
    *("state", "thing_id", "written_at", "folder"),
)


class IntentBook:
    """The folder of notes. Many processes may use it at once: each birth has one writer, and files are replaced whole."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "intents"
        self._owners: dict[str, Owner] = {}  # by file name: the owner of a birth never changes

    def open(self, intent: Intent) -> Intent:
        """Write the note and make it durable, before the request is sent."""
        files.make_private_folder(self.folder)
        noted = replace(intent, folder=intent.folder or str(Path.cwd()))
        self._write(noted)
        return noted

    def record_id(self, intent: Intent, thing_id: str) -> Intent:
        """Note the id that the provider gave."""
        noted = replace(intent, thing_id=thing_id)
        self._write(noted)
        return noted

    def answer(self, intent: Intent) -> Intent:
        """Note that the thing is usable and is about to be handed to the caller."""
        noted = replace(intent, state="answered")
        self._write(noted)
        return noted

    def withdraw(self, birth: Birth | str) -> None:
        """Take an answer back: the caller did not get it after all, so the note is *open* again."""
        intent = self.get(birth)
        if intent is not None:
            self._write(replace(intent, state="open"))

    def close(self, birth: Birth | str) -> bool:
        """Forget the note: the caller is known to know, or nothing is there. False when there was none.

        Not waited for until it is on disk: a note that a power cut brings back is closed again for the same reason.
        """
        path = self._path(birth)
        self._owners.pop(path.name, None)
        return files.remove(path, durable=False)

    def is_noted(self, birth: str) -> bool:
        """Whether there is an unclosed note. Cheap: one look at a name."""
        return self._path(birth).exists()

    def get(self, birth: Birth | str) -> Intent | None:
        """The unclosed note of a birth. Raises ProviderFailure when it is damaged."""
        return self._read(self._path(birth))

    def unclosed(self) -> Iterator[Intent]:
        """All unclosed notes, oldest first. Raises ProviderFailure naming a damaged one: it may stand for a machine."""
        found = [intent for name in self._names() if (intent := self._read(self.folder / name))]
        yield from sorted(found, key=lambda intent: intent.written_at)

    def of_owner(self, owner: Owner) -> list[Intent]:
        """Unclosed notes of one declared thing, oldest first. Reads only notes that it has not seen, and those.

        Raises ProviderFailure naming a damaged note among them.
        """
        found = []
        for name in self._names():
            known = self._owners.get(name)
            if known is not None and not known.same_thing(owner):
                continue
            intent = self._read(self.folder / name)
            if intent is None:
                continue
            self._owners[name] = intent.owner
            if intent.owner.same_thing(owner):
                found.append(intent)
        return sorted(found, key=lambda intent: intent.written_at)

    def leftover(self, intent: Intent) -> Leftover:
        """What the rules of ownership need to know of an intent."""
        ended_well = self._end_of(intent.writer).exists()
        return Leftover(intent.birth, intent.owner, intent.state, intent.writer.may_be_alive(), ended_well)

    def note_end(self, writer: processes.ProcessIdentity) -> None:
        """Note that the engine ended this writer in good order, with nothing running. Forgets such notes when they serve
        no intent any more."""
        serving = {self._end_of(intent.writer) for intent in self.unclosed()}
        mine = self._end_of(writer)
        for path in self.folder.glob("ended/*"):
            if path not in serving:
                files.remove(path)
        if mine in serving:
            files.make_private_folder(mine.parent)
            files.write_atomically(mine, b"")

    def _end_of(self, writer: processes.ProcessIdentity) -> Path:
        return self.folder / "ended" / f"{writer.host}-{writer.boot}-{writer.pid}-{writer.started}"

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if name.endswith(".json")]  # noqa: PTH208
        except FileNotFoundError:
            return []

    def _path(self, birth: str) -> Path:
        return self.folder / f"{birth}.json"

    def _write(self, intent: Intent) -> None:
        path = self._path(intent.birth)
        files.write_json(path, intent.as_json())
        self._owners[path.name] = intent.owner

    def _read(self, path: Path) -> Intent | None:
        fields = files.read_json(path)
        if fields is None and not path.exists():
            return None
        try:
            return Intent.from_json(fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            hint = "it may stand for a rented machine: look at `atlas compute list`, then move the file away"
            raise ProviderFailure(f"the intent {path} is damaged ({type(error).__name__})", hint=hint) from error
