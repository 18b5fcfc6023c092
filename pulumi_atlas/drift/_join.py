"""From everything that was seen of a stack to the items of its report. Pure: it decides, and looks at nothing itself.

A thing is told from another by its id first, then by its birth. Only things of this stack's own id can be leaked, and
nothing is called gone or leaked on the word of somebody who did not answer, or of a list that was not complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pulumi_atlas.client import Intent
from pulumi_atlas.drift import _words
from pulumi_atlas.drift._changes import changes_of
from pulumi_atlas.drift._events import Refresh, Seen
from pulumi_atlas.drift._listing import Inventory, Place, Thing
from pulumi_atlas.drift._plan import RecoveryPlan
from pulumi_atlas.drift.findings import Change, DriftItem, DriftReport, Status
from pulumi_atlas.drift.stack_state import Foreign, Held, Pending, StackState
from pulumi_atlas.rules.diff import ended_well

__all__ = ["Sight", "join"]

#: Clocks of the provider and of this machine may differ, in seconds.
_SLACK_S = 120.0

_ORDER: tuple[Status, ...] = (
    *("leaked", "gone", "reclaimed", "stopped", "changed", "unfinished", "unreachable"),
    *("in_progress", "reaped", "finished"),
)


@dataclass(frozen=True)
class Sight:
    """What one look at a stack saw. `before` and `after`: the state at its begin and end, so that a run beside it shows.

    `plan`: the notes, judged. `running`: who is, or may be, at work on the stack, since `running_since` (seconds since the
    epoch). `locks`: those of runs that are dead. `once_held`: births that an earlier state held. `moved`: where the state was
    made and where it is, when these differ.
    """

    stack: str
    before: StackState
    after: StackState
    refresh: Refresh = field(default_factory=Refresh)
    inventories: tuple[Inventory, ...] = ()
    plan: RecoveryPlan = field(default_factory=lambda: RecoveryPlan(None))
    running: tuple[str, ...] = ()
    running_since: float = 0.0
    once_held: frozenset[str] | None = None
    moved: tuple[str, str] | None = None
    locks: tuple[str, ...] = ()


def join(sight: Sight) -> DriftReport:
    """The report: at most one item for each thing, the most urgent first."""
    work = _Join(sight)
    items = [
        *work.of_state(),
        *work.of_pending(),
        *work.of_notes(),
        *work.of_things(),
        *work.of_places(),
        *work.of_stack(),
    ]
    items.sort(key=lambda item: (_ORDER.index(item.status), item.urn or "", item.provider or "", item.id or ""))
    return DriftReport(sight.stack, tuple(items), complete=all(item.status != "unreachable" for item in items))


class _Join:
    """Tables over one sight."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight
        before = {(one.urn, one.id): one for one in sight.before.things}
        after = {(one.urn, one.id): one for one in sight.after.things}
        self.held = [*after.values(), *(one for key, one in before.items() if key not in after)]
        self.still = {key for key, one in after.items() if before.get(key) == one}
        self.held_ids = {(one.provider, one.id) for one in self.held if one.id}
        self.held_births = {one.birth for one in self.held if one.birth}
        self.pending = list({_key(one): one for one in (*sight.before.pending, *sight.after.pending)}.values())
        self.lasting = {_key(one) for one in sight.before.pending} & {_key(one) for one in sight.after.pending}
        self.pending_urns = {one.thing.urn for one in self.pending if one.operation != "creating"}
        self.pending_births = {one.thing.birth for one in self.pending if one.thing.birth}
        self.things = {
            (thing.place.provider, thing.identity, thing.kind, thing.id): thing
            for inventory in sight.inventories
            for thing in inventory.things
        }
        self.by_id = {(thing.place.provider, thing.kind, thing.id): thing for thing in self.things.values()}
        self.by_birth = {thing.birth: thing for thing in self.things.values() if thing.birth}

    # ---- what the state holds

    def of_state(self) -> Iterator[DriftItem]:
        for held in self.held:
            if held.urn in self.pending_urns or (held.external and held.urn not in self.sight.refresh.failed):
                continue
            item = self._doomed(held) if held.doomed else self._judged(held)
            if item is not None:
                yield item

    def _doomed(self, held: Held) -> DriftItem:
        if self.sight.running or (held.urn, held.id) not in self.still:
            return self._item(held, "in_progress", reason=self._who("is replacing it"), next=_words.WAIT)
        return self._item(
            held, "unfinished", reason="it was replaced and is still to be deleted", next=_words.RECONCILE
        )

    def _judged(self, held: Held) -> DriftItem | None:
        seen = self.sight.refresh.seen.get(held.urn)
        if seen is not None and seen.operation == "same":
            return self._at_rest(held, seen)
        if (held.urn, held.id) not in self.still:
            return self._item(held, "in_progress", reason=self._who("changed it meanwhile"), next=_words.WAIT)
        if seen is None:
            reason = self.sight.refresh.failed.get(held.urn) or "the engine's look ended before it came to this one"
            return self._item(held, "unreachable", reason=reason, next=_words.AGAIN)
        return self._gone(held, seen) if seen.operation == "delete" else self._differs(held, seen)

    def _at_rest(self, held: Held, seen: Seen) -> DriftItem | None:
        status, outputs = str(seen.after.get("status")), seen.after
        if status == "reaped":
            return self._item(held, "reaped", seen, reason=_words.reaped(outputs.get("reason")), next=_words.REAPED)
        wanted = seen.live.get("desired_status") or "running"
        well = held.kind == "pod" and ended_well(status, outputs.get("exit_code"), seen.declared.get("on_exit"))
        if well and wanted != "stopped":
            return self._item(held, "finished", seen, reason="its command ended with success", next=_words.FINISHED)
        return None

    def _gone(self, held: Held, seen: Seen) -> DriftItem:
        """The engine's word, checked against the list: where that disagrees, nothing is called gone."""
        listed = self.by_id.get((held.provider or "", held.kind or "", held.id))
        inventory = self._inventory(held)
        if listed is not None and listed.status != "terminated":
            reason = "the provider first said that it is not there, and then listed it"
            return self._item(held, "unreachable", reason=reason, next=_words.AGAIN)
        if inventory is not None and not inventory.trusted:
            reason = inventory.error or "it was not found, but the list was not complete"
            return self._item(held, "unreachable", reason=reason, next=_words.AGAIN)
        status: Status = "reclaimed" if seen.declared.get("spot") is True else "gone"
        reason = _words.gone(status, listed.reason if listed else "")
        return self._item(held, status, reason=reason, next=_words.RECONCILE)

    def _differs(self, held: Held, seen: Seen) -> DriftItem:
        changes, status = changes_of(seen), str(seen.after.get("status") or "")
        if status == "reaped":
            return self._item(held, "reaped", seen, changes, _words.reaped(seen.after.get("reason")), _words.REAPED)
        if status in ("stopped", "failed", "finished", "terminated") and _is_to_run(held, seen):
            kept = changes or (Change("status", seen.before.get("status"), status),)
            spot = held.kind == "pod" and seen.declared.get("spot") is True and status in ("stopped", "terminated")
            found: Status = "reclaimed" if spot else "stopped"
            reason = _words.stopped(found, status, seen.after.get("reason"))
            return self._item(held, found, seen, kept, reason, _words.RECONCILE)
        names = ", ".join(change.property for change in changes)
        reason = f"changed behind Pulumi's back: {names}" if names else "the provider's record of it differs"
        return self._item(held, "changed", seen, changes, reason, _words.CHANGED)

    def _inventory(self, held: Held) -> Inventory | None:
        place = Place(held.provider or "", held.account or "")
        return next((one for one in self.sight.inventories if one.place == place and one.kind in (held.kind, "")), None)

    # ---- what was begun

    def of_pending(self) -> Iterator[DriftItem]:
        busy = {intent.birth for intent in self.sight.plan.busy}
        for one in self.pending:
            if one.operation == "creating" and one.thing.birth in self.held_births:
                continue
            at_work = self.sight.running or _key(one) not in self.lasting or one.thing.birth in busy
            if at_work:
                yield self._item(one.thing, "in_progress", reason=self._who(f"is {one.operation} it"), next=_words.WAIT)
            else:
                reason = f"a run that ended was {one.operation} it"
                yield self._item(one.thing, "unfinished", reason=reason, next=_words.RECONCILE)
        yield from (self._foreign(one) for one in self.sight.after.pending_others)

    def _foreign(self, one: Foreign) -> DriftItem:
        """The next update settles anything but a creation; of that nothing can be known here."""
        if self.sight.running or one not in self.sight.before.pending_others:
            reason = self._who(f"is {one.operation} it")
            return DriftItem("in_progress", one.urn, reason=reason, next=_words.WAIT, name=one.name)
        reason = f"a run that ended was {one.operation} it"
        if one.operation != "creating":
            return DriftItem("unfinished", one.urn, reason=reason, next=_words.RECONCILE, name=one.name)
        reason += ", and it is none of ours"
        return DriftItem("unfinished", one.urn, reason=reason, next=_words.FOREIGN, name=one.name, by_hand=True)

    def of_notes(self) -> Iterator[DriftItem]:
        plan = self.sight.plan
        told = self.pending_births | self.held_births
        for intent in (one for one in plan.busy if one.birth not in told and one.owner.kind == "stack"):
            yield self._noted(intent, "in_progress", f"process {intent.writer.pid} is creating it", _words.WAIT)
        for intent in (one for one in plan.remove if one.birth not in told and one.owner.kind == "stack"):
            yield self._noted(intent, "unfinished", "a run that ended was creating it", _words.RECONCILE)
        for intent in (one for one in plan.report if one.birth not in told):
            reason = "a run created it and ended; whether a state has it, only you can know"
            end = _words.terminate(intent.kind, intent.thing_id, intent.provider)
            yield replace(self._noted(intent, "unfinished", reason, end), by_hand=True)

    def _noted(self, intent: Intent, status: Status, reason: str, next_: str) -> DriftItem:
        thing = self.by_birth.get(intent.birth)
        return DriftItem(
            status,
            kind=intent.kind,
            provider=intent.provider,
            id=thing.id if thing else intent.thing_id,
            cost_per_hour=thing.cost_per_hour if thing else None,
            reason=reason,
            next=next_,
            account=intent.account,
            birth=intent.birth,
            owner=intent.owner,
            name=intent.name,
        )

    # ---- what no state holds

    def of_things(self) -> Iterator[DriftItem]:
        plan, ours = self.sight.plan, self.sight.after.stack_id or self.sight.before.stack_id
        told = {intent.birth for intent in (*plan.busy, *plan.remove, *plan.report)} | self.pending_births
        for thing in self.things.values():
            if thing.owner is None or thing.owner.kind != "stack" or thing.owner.id != ours or ours is None:
                continue
            held = (thing.place.provider, thing.id) in self.held_ids or thing.birth in self.held_births
            if held or thing.birth in told or thing.status == "terminated":
                continue
            yield self._unheld(thing)

    def _unheld(self, thing: Thing) -> DriftItem:
        young = thing.created_at is None or thing.created_at >= self.sight.running_since - _SLACK_S
        if self.sight.running and young:
            return _of_thing(thing, "in_progress", self._who("may be creating it"), _words.WAIT)
        if self.sight.moved:
            return _of_thing(thing, "unreachable", "another copy of this state may have it", _words.ADOPT_OWNER)
        if self.sight.once_held is not None and thing.birth in self.sight.once_held:
            next_ = _words.let_go(thing.kind, thing.id, thing.place.provider)
            return replace(_of_thing(thing, "leaked", _words.LET_GO, next_), let_go=True)
        return _of_thing(thing, "leaked", _words.LEAKED, _words.LEAKS)

    def of_places(self) -> Iterator[DriftItem]:
        for one in self.sight.inventories:
            if one.trusted:
                continue
            reason = one.error or "the list was not complete: a part of the account did not answer"
            yield DriftItem(
                "unreachable", kind=one.kind or None, provider=one.place.provider, reason=reason, next=_words.AGAIN
            )

    def of_stack(self) -> Iterator[DriftItem]:
        for lock in self.sight.locks:
            yield DriftItem("unfinished", kind="stack", reason=f"{lock}, which is dead", next=_words.RECONCILE)
        if self.sight.moved is None:
            return
        made, here = self.sight.moved
        yield DriftItem(
            "changed",
            kind="stack",
            id=self.sight.after.stack_id,
            changes=(Change("home", made, here),),
            reason=_words.MOVED,
            next=_words.ADOPT_OWNER,
            by_hand=True,
        )

    # ---- shared

    def _by_birth(self, held: Held) -> Thing | None:
        return self.by_birth.get(held.birth) if held.birth else None

    def _who(self, does: str) -> str:
        return f"{self.sight.running[0] if self.sight.running else 'a run'} {does}"

    def _item(
        self,
        held: Held,
        status: Status,
        seen: Seen | None = None,
        changes: tuple[Change, ...] = (),
        reason: str = "",
        next: str = "",  # the name in the report
    ) -> DriftItem:
        listed = self.by_id.get((held.provider or "", held.kind or "", held.id)) or self._by_birth(held)
        cost = seen.after.get("cost_per_hour") if seen else listed.cost_per_hour if listed else None
        ident = held.id or (listed.id if listed else None)
        return DriftItem(
            status,
            urn=held.urn,
            kind=held.kind,
            provider=held.provider,
            id=ident,
            changes=changes,
            cost_per_hour=float(cost) if isinstance(cost, int | float) and status not in ("gone",) else None,
            reason=reason,
            next=next,
            account=held.account,
            birth=held.birth,
            owner=held.owner,
            name=held.name,
        )


def _is_to_run(held: Held, seen: Seen) -> bool:
    return held.kind != "pod" or (seen.declared.get("desired_status") or "running") == "running"


def _key(one: Pending) -> tuple[str, str, str]:
    return one.operation, one.thing.urn, one.thing.birth or ""


def _of_thing(thing: Thing, status: Status, reason: str, next_: str) -> DriftItem:
    return DriftItem(
        status,
        kind=thing.kind,
        provider=thing.place.provider,
        id=thing.id,
        cost_per_hour=thing.cost_per_hour,
        reason=reason,
        next=next_,
        account=thing.place.account or None,
        birth=thing.birth,
        owner=thing.owner,
        name=thing.name,
    )
