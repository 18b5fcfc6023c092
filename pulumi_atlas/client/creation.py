"""Making a thing that costs money, so that nothing is rented twice and nothing rented is forgotten.

The numbered steps are the places at which fault campaigns kill us::

    1  nothing done          → nothing to do
    2  intent written        → the birth is looked for; nothing is there, or it is removed
    3  (inside the provider) → as 2
    4  (inside the provider) → as 2
    5  rented                → as 2
    6  id recorded           → as 2
    7  usable                → as 2
    8  intent answered       → may be in the state: only `atlas doctor --recover`, which can see the state, removes it
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pulumi_atlas import failpoints, processes
from pulumi_atlas.client._beside import beside
from pulumi_atlas.client._inventory import Inventory
from pulumi_atlas.client.intents import Intent, IntentBook
from pulumi_atlas.client.kinds import Kind
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.client.stop import Stop
from pulumi_atlas.errors import AtlasError, Conflict, Interrupted, NotFound, ProviderFailure, UnknownOutcome
from pulumi_atlas.ids import Tag
from pulumi_atlas.models import Compute, ObservedEndpoint, ObservedVolume
from pulumi_atlas.rules import ownership
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.waiting import pause_s

__all__ = ["RECOVER", "Creation", "Creator"]

T = TypeVar("T", bound=Compute | ObservedVolume | ObservedEndpoint)

RECOVER = "run `atlas doctor --recover` in the project's folder"

#: Errors of a create after which the thing may exist. (`transport` is by definition a request without effect.)
_DOUBTFUL = frozenset({"unknown_outcome", "timeout"})

#: Seconds that the confirmation of a removal may take.
_CONFIRM_S = 60.0


@dataclass(frozen=True)
class Creation(Generic[T]):
    """One creation. `until_usable` waits for the thing and returns it; `on_failure` turns an error into a better one."""

    kind: Kind[T]
    spec: Any
    tag: Tag
    name: str
    until_usable: Callable[[T], Awaitable[T]]
    explain: Callable[[T, AtlasError], Awaitable[AtlasError]] | None = None


class Creator:
    """Runs creations for one opened provider."""

    def __init__(
        self,
        opened: Opened,
        book: IntentBook,
        clock: Clock,
        stop: Stop,
        *,
        say: Callable[[str], None] = lambda line: None,
        known: Collection[str] = (),
    ) -> None:
        """`known`: births that the caller's state holds; other things of the same owner are told of by `say`."""
        self._opened, self._book, self._clock, self._stop = opened, book, clock, stop
        self._say, self._known = say, known

    async def create(self, work: Creation[T]) -> T:
        """Make it, wait until it is usable, and leave its intent *answered*.

        Raises what the provider raises. An Interrupted or UnknownOutcome leaves the intent open; after any other error
        nothing is left, or the intent is open and the message says so.
        """
        failpoints.reach("create.1")
        self._stop.check_begin()
        await self._settle_earlier(work)
        await self._tell_of_others(work)
        intent = await beside(self._book.open, await self._note(work))
        failpoints.reach("create.2")
        thing = await self._rent(work, intent)
        failpoints.reach("create.5")
        thing = await self._usable(work, intent, thing)
        failpoints.reach("create.8")
        return thing

    async def _note(self, work: Creation[T]) -> Intent:
        return Intent(
            birth=work.tag.birth,
            owner=work.tag.owner,
            kind=work.kind.name,
            provider=self._opened.provider.name,
            account=self._opened.access.account,
            identity=await self._opened.identity(),
            name=work.name,
            spec_hash=hashlib.sha256(work.spec.model_dump_json().encode()).hexdigest()[:16],
            writer=processes.me(),
            written_at=self._clock.now(),
        )

    async def _settle_earlier(self, work: Creation[T]) -> None:
        """Clean up after earlier creations of the same declared thing, or refuse where they may be in the state."""
        if work.tag.owner.kind == "manual":
            return  # nothing declares it, so two of one name are two things
        for intent in await beside(self._book.of_owner, work.tag.owner):
            if intent.kind != work.kind.name:
                continue
            verdict = ownership.on_create(self._book.leftover(intent))
            if verdict == "leave":
                continue
            if verdict == "refuse":
                raise Conflict(_refusal(work, intent), provider=intent.provider, operation="create", hint=RECOVER)
            await self.remove_birth(work.kind, intent)

    async def _tell_of_others(self, work: Creation[T]) -> None:
        """Say what the same declared thing was before, where the state has lost it: it is paid for, and nobody else tells.

        It is never touched: under a forced replacement it may be the very thing that is to be replaced.
        """
        if work.tag.owner.kind != "stack":
            return
        try:
            listing = await self._opened.earlier(work.kind)
            others = [thing for thing in listing if self._is_lost(thing, work)]
        except Exception:  # noqa: BLE001  # it was only for this line
            return
        for thing in others:
            verb = "terminate" if work.kind.name == "pod" else "delete"
            noun = {"pod": "compute", "volume": "volumes", "endpoint": "endpoints"}[work.kind.name]
            command = f"atlas {noun} {verb} {thing.id} --provider {self._opened.provider.name}"
            self._say(
                f"{work.name}: an earlier {work.kind.name} of it, {thing.id}, is there too."
                f" A forced replacement deletes it now; otherwise the state has lost it: `{command}`"
            )

    def _is_lost(self, thing: T, work: Creation[T]) -> bool:
        same = thing.owner is not None and thing.owner.same_thing(work.tag.owner)
        gone = getattr(thing, "status", "") == "terminated"
        return same and not gone and thing.birth != work.tag.birth and thing.birth not in self._known

    async def _rent(self, work: Creation[T], intent: Intent) -> T:
        try:
            thing: T = await work.kind.create(self._opened.provider, work.spec, work.tag)
        except Interrupted:
            raise
        except AtlasError as error:
            if error.kind in _DOUBTFUL:
                return await self._look_for(work, error)
            self._book.close(intent.birth)  # the contract: nothing was rented
            raise
        except Exception as error:
            broken = self._broken(error, work)  # outside the contract: it may have been rented
            await self._undo(work, intent, broken)
            raise broken from error
        finally:
            self._opened.wrote()
        return thing

    async def _look_for(self, work: Creation[T], error: AtlasError) -> T:
        """The answer was lost: look for the birth until the listing can be trusted. No other candidate is tried."""
        inventory = self._opened.inventory(work.kind)
        deadline = self._clock.monotonic() + self._opened.provider.listing_lag_s
        attempt = 0
        while True:
            found, complete = await _seen(inventory, work.tag.birth)
            if found is not None:
                again: T = found
                return again
            if complete and self._clock.monotonic() >= deadline:
                break
            if self._clock.monotonic() >= deadline + _CONFIRM_S:
                break
            await self._stop.wait(self._clock, pause_s(attempt))
            attempt += 1
        raise UnknownOutcome(
            f"{work.name}: the provider's answer was lost and nothing with birth {work.tag.birth} is listed",
            provider=self._opened.provider.name,
            operation="create",
            hint=f"the intent stays open; {RECOVER}",
        ) from error

    async def _usable(self, work: Creation[T], intent: Intent, thing: T) -> T:
        """Record its id, wait, and note that it is about to be handed over. What fails in that is removed again."""
        try:
            intent = await beside(self._book.record_id, intent, self._id_of(thing))
            failpoints.reach("create.6")
            thing = await work.until_usable(thing)
            failpoints.reach("create.7")
            await beside(self._book.answer, intent)
            return thing
        except Interrupted:
            raise
        except AtlasError as error:
            better = await self._explained(work, thing, error)
            await self._undo(work, intent, better)
            raise better from None
        except Exception as error:
            broken = self._broken(error, work)
            await self._undo(work, intent, broken)
            raise broken from error

    def _id_of(self, thing: T) -> str:
        ident = getattr(thing, "id", None)
        if isinstance(ident, str) and ident:
            return ident
        raise ProviderFailure(
            "the provider's answer holds no id", provider=self._opened.provider.name, operation="create"
        )

    async def _explained(self, work: Creation[T], thing: T, error: AtlasError) -> AtlasError:
        if work.explain is None:
            return error
        try:
            return await work.explain(thing, error)
        except Exception:  # noqa: BLE001  # the explanation must not stand in the way of the removal
            return error

    def _broken(self, error: Exception, work: Creation[T]) -> AtlasError:
        """A provider that raises what is not in its contract; the text may hold anything, so it is not shown."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
        return ProviderFailure(
            f"{work.name}: the provider failed unexpectedly with {type(error).__name__}{where}",
            provider=self._opened.provider.name,
            operation="create",
            hint="nothing was kept; please report this to the provider's author",
        )

    async def _undo(self, work: Creation[T], intent: Intent, error: AtlasError) -> None:
        try:
            await self.remove_birth(work.kind, intent)
        except Interrupted:
            raise
        except Exception as trouble:  # noqa: BLE001  # whatever it is: the intent stays open
            kind = trouble.kind if isinstance(trouble, AtlasError) else type(trouble).__name__
            error.hint = f"it could not be removed ({kind}) and may cost money; {RECOVER}"

    async def remove_birth(self, kind: Kind[Any], intent: Intent) -> bool:
        """Terminate what an intent stands for, confirm that it is gone, and close the intent. Whether there was anything.

        Raises WrongAccount, the provider's errors, and Conflict when the removal cannot be confirmed; the intent stays.
        """
        await self._opened.check_account(intent.identity, operation="remove", name=f"{intent.kind} {intent.name}")
        removed = await self._remove_until_gone(kind, intent)
        self._opened.wrote()
        self._book.close(intent.birth)
        return removed

    async def _remove_until_gone(self, kind: Kind[Any], intent: Intent) -> bool:
        inventory = self._opened.inventory(kind)
        lag_s = self._opened.provider.listing_lag_s
        sure_at = intent.written_at + lag_s
        deadline = self._clock.monotonic() + _CONFIRM_S + lag_s
        removed, attempt = False, 0
        while self._clock.monotonic() < deadline:
            found, complete = await inventory.find_birth(intent.birth)
            if found is not None and getattr(found, "status", "") != "terminated":  # some clouds show that for hours
                await _ignore_missing(kind.remove(self._opened.provider, found.id))
                removed = True
            elif complete and self._clock.now() >= sure_at:
                return removed
            await self._stop.wait(self._clock, pause_s(attempt))
            attempt += 1
        raise Conflict(
            f"the removal of {intent.kind} {intent.name} (birth {intent.birth}) could not be confirmed",
            provider=self._opened.provider.name,
            operation="remove",
            hint=RECOVER,
        )


async def _seen(inventory: Inventory[Any], birth: str) -> tuple[Any | None, bool]:
    """As `find_birth`; a listing that fails has shown nothing and proves nothing: the search goes on."""
    try:
        return await inventory.find_birth(birth)
    except Interrupted:
        raise
    except AtlasError:
        return None, False


async def _ignore_missing(work: Awaitable[None]) -> None:
    try:
        await work
    except NotFound:
        return


def _refusal(work: Creation[Any], intent: Intent) -> str:
    what = f"{intent.kind} {work.name}"
    if intent.writer.may_be_alive():
        return f"another run (process {intent.writer.pid} on {intent.writer.host}) is creating {what} now"
    known = f" with id {intent.thing_id}" if intent.thing_id else ""
    return f"an earlier run created {what}{known} and ended before the engine could note it"
