"""Laws of the drift report: whatever was seen, nothing is called gone or leaked without proof, and nothing twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_atlas.client import Intent
from pulumi_atlas.drift._events import Refresh, Seen
from pulumi_atlas.drift._join import Sight, join
from pulumi_atlas.drift._listing import Inventory, Place, Thing
from pulumi_atlas.drift._plan import RecoveryPlan
from pulumi_atlas.drift.findings import DIFFERENCES
from pulumi_atlas.drift.stack_state import Foreign, Held, Pending, StackState
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.processes import ProcessIdentity

OURS, THEIRS = "e73d08e9f20579cb", "0123456789abcdef"
KINDS = ("pod", "volume")
TYPES = {"pod": "Pod", "volume": "Volume"}
IDS = [f"id-{number}" for number in range(4)]
BIRTHS = [Birth(f"{number}" * 20) for number in range(4)]
RARELY = st.sampled_from([False, False, False, False, True])
DEAD = ProcessIdentity(1, "boot", 1, "host")

statuses = st.sampled_from(["running", "stopped", "failed", "finished", "terminated", "reaped"])
times = st.sampled_from([0.0, 900.0, 1000.0, 2000.0])


@st.composite
def held(draw: st.DrawFn) -> Held:
    kind, number = draw(st.sampled_from(KINDS)), draw(st.integers(0, 3))
    return Held(
        urn=f"urn::{kind}::{draw(st.sampled_from('abc'))}",
        type=f"pulumi-python:dynamic/atlas:{TYPES[kind]}",
        id=IDS[number],
        name="x",
        birth=draw(st.none() | st.just(BIRTHS[number])),
        owner=Owner("stack", OURS, "x"),
        provider="mock",
        account=None,
        doomed=draw(RARELY),
        external=draw(RARELY),
        digest="2" if draw(RARELY) else "1",
    )


@st.composite
def states(draw: st.DrawFn) -> StackState:
    things = draw(st.lists(held(), max_size=4, unique_by=(lambda one: one.id, lambda one: one.urn)))
    operations = st.sampled_from(["creating", "updating", "deleting"])
    pending = draw(st.lists(st.builds(Pending, operations, held()), max_size=2))
    stack_id = draw(st.sampled_from([OURS, OURS, None]))
    return StackState(stack_id, None, tuple(things), tuple(pending), draw(st.sampled_from([(), (FOREIGN,)])))


FOREIGN = Foreign("creating", "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::logs")


@st.composite
def things(draw: st.DrawFn, place: Place, kind: str) -> Thing:
    return Thing(
        kind,
        place,
        draw(st.sampled_from(IDS)),
        birth=draw(st.none() | st.sampled_from(BIRTHS)),
        owner=draw(st.sampled_from([Owner("stack", OURS)] * 4 + [Owner("stack", THEIRS), Owner("manual", OURS), None])),
        status=draw(statuses),
        cost_per_hour=draw(st.none() | st.floats(0, 9)),
        created_at=draw(st.none() | times),
        identity=place.provider,
    )


@st.composite
def inventories(draw: st.DrawFn) -> tuple[Inventory, ...]:
    found = []
    for provider in draw(st.sampled_from([["mock"], ["mock"], ["mock", "local"], []])):
        for kind in KINDS:
            place = Place(provider)
            error = "HTTP 500" if draw(RARELY) else ""
            many = () if error else tuple(draw(st.lists(things(place, kind), max_size=3, unique_by=lambda one: one.id)))
            found.append(Inventory(place, kind, many, not draw(RARELY), error))
    return tuple(found)


@st.composite
def refreshes(draw: st.DrawFn, state: StackState) -> Refresh:
    seen: dict[str, Seen] = {}
    failed: dict[str, str] = {}
    for one in state.things:
        what = draw(st.sampled_from(["same", "update", "delete", "failed", "unseen"]))
        if what == "failed":
            failed[one.urn] = "HTTP 500"
        elif what != "unseen":
            declared: dict[str, Any] = {"image": "a", "spot": draw(st.booleans())}
            after = {"status": draw(statuses), "cost_per_hour": 1}
            seen[one.urn] = Seen(one.urn, what, one.id, declared, {"image": "b"}, {}, after, ("image",))  # type: ignore[arg-type]
    return Refresh(seen, failed)


@st.composite
def notes(draw: st.DrawFn) -> RecoveryPlan:
    births = draw(st.lists(st.sampled_from(BIRTHS), unique=True, max_size=3))
    groups: dict[str, list[Intent]] = {"remove": [], "report": [], "busy": [], "close": []}
    for birth in births:
        intent = Intent(
            birth, Owner("stack", OURS, "x"), draw(st.sampled_from(KINDS)), "mock", None, "", "x", "0", DEAD
        )  # type: ignore[arg-type]
        groups[draw(st.sampled_from(sorted(groups)))].append(intent)
    return RecoveryPlan("dev", **{name: tuple(many) for name, many in groups.items()})  # type: ignore[arg-type]


@st.composite
def sights(draw: st.DrawFn) -> Sight:
    before = draw(states())
    return Sight(
        "dev",
        before,
        before if not draw(RARELY) else draw(states()),
        draw(refreshes(before)),
        draw(inventories()),
        draw(notes()),
        ("process 7 on here",) if draw(RARELY) else (),
        draw(times),
        draw(st.none() | st.frozensets(st.sampled_from([str(one) for one in BIRTHS]))),
        ("here", "there") if draw(RARELY) else None,
    )


@settings(max_examples=100)
@given(sight=sights())
def test_only_what_is_proven_is_called_gone(sight: Sight) -> None:
    for item in join(sight).of("gone", "reclaimed"):
        listed = [one for one in sight.inventories if (one.place.provider, one.kind) == (item.provider, item.kind)]
        if sight.refresh.seen[item.urn or ""].operation == "delete":
            assert all(one.trusted for one in listed)
            shown = [thing for one in listed for thing in one.things if thing.id == item.id]
            assert all(thing.status == "terminated" for thing in shown)
        assert item.urn not in sight.refresh.failed


@settings(max_examples=100)
@given(sight=sights())
def test_only_what_carries_this_stacks_id_and_is_known_nowhere_is_leaked(sight: Sight) -> None:
    rows = (*sight.before.things, *sight.after.things)
    known = {one.birth for one in rows if one.birth}
    known |= {one.thing.birth for one in (*sight.before.pending, *sight.after.pending)}
    known |= {one.birth for one in (*sight.plan.remove, *sight.plan.report, *sight.plan.busy)}
    ids = {(one.provider, one.id) for one in rows}
    for item in join(sight).of("leaked"):
        assert item.owner is not None and (item.owner.kind, item.owner.id) == ("stack", OURS)
        assert item.birth is None or item.birth not in known
        assert (item.provider, item.id) not in ids
        assert sight.moved is None


@given(sight=sights())
def test_no_thing_is_told_of_twice(sight: Sight) -> None:
    items = join(sight).items
    assert len(set(items)) == len(items)
    leaked = [(item.provider, item.kind, item.id) for item in items if item.status == "leaked"]
    assert len(set(leaked)) == len(leaked)
    urns = [(item.urn, item.id) for item in items if item.urn and item.urn not in _pending_urns(sight)]
    assert len(set(urns)) == len(urns)


@given(sight=sights())
def test_complete_and_clean_follow_from_the_items(sight: Sight) -> None:
    report = join(sight)
    assert report.complete == all(item.status != "unreachable" for item in report.items)
    assert report.clean == all(item.status not in DIFFERENCES for item in report.items)
    assert report.complete or not report.clean
    if any(not one.trusted for one in sight.inventories) or sight.refresh.failed.keys() & _judged(sight):
        assert not report.complete


@given(sight=sights())
def test_a_young_thing_beside_a_run_is_never_leaked(sight: Sight) -> None:
    if sight.running:
        made = {one.id: one.created_at for inventory in sight.inventories for one in inventory.things if one.created_at}
        for item in join(sight).of("leaked"):
            assert made.get(item.id or "", 0.0) < sight.running_since


@given(sight=sights())
def test_beside_a_run_nothing_that_is_begun_is_called_unfinished(sight: Sight) -> None:
    if sight.running:
        noted = {one.birth for one in (*sight.plan.remove, *sight.plan.report)}
        assert all(item.birth in noted for item in join(sight).of("unfinished"))


@given(sight=sights())
def test_every_item_says_why_and_what_next(sight: Sight) -> None:
    for item in join(sight).items:
        assert item.reason and item.next, item
        assert item.cost_per_hour is None or item.cost_per_hour >= 0


@given(state=states(), stranger=things(Place("mock"), "pod"))
def test_without_any_trace_of_it_an_untouched_stack_is_clean(state: StackState, stranger: Thing) -> None:
    quiet = StackState(state.stack_id, None, tuple(one for one in state.things if not one.doomed))
    seen = {one.urn: Seen(one.urn, "same", one.id, {}, {}, {}, {"status": "running"}) for one in quiet.things}
    theirs = Thing("pod", stranger.place, "other", owner=Owner("stack", THEIRS), birth=stranger.birth, status="running")
    report = join(Sight("dev", quiet, quiet, Refresh(seen), (Inventory(Place("mock"), "pod", (theirs,)),)))
    assert report.clean and not report.items


def _pending_urns(sight: Sight) -> set[str]:
    return {one.thing.urn for one in (*sight.before.pending, *sight.after.pending)}


def _judged(sight: Sight) -> set[str]:
    """URNs that are in both states and that no pending operation and no replacement covers."""
    both = {one for one in sight.before.things if one in sight.after.things and not one.doomed}
    return {one.urn for one in both} - _pending_urns(sight)
