"""What a report says, by what was seen: constructed states, events, lists and notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pulumi_atlas.client import Intent
from pulumi_atlas.drift._events import Refresh, Seen
from pulumi_atlas.drift._join import Sight, join
from pulumi_atlas.drift._listing import Inventory, Place, Thing
from pulumi_atlas.drift._plan import RecoveryPlan
from pulumi_atlas.drift.findings import DriftItem, DriftReport
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.ids import Birth, Owner
from tests.unit.drift.conftest import STACK_ID, export, resource

A, B = Birth("a" * 20), Birth("b" * 20)
HERE = Place("local")
WEB = resource("web", birth=A, ident="pod-1")
URN = WEB["urn"]
Make = Callable[..., Intent]


def thing(ident: str = "pod-9", *, birth: str | None = B, owner: str = STACK_ID, **more: Any) -> Thing:
    fields: dict[str, Any] = {
        "status": "running",
        "cost_per_hour": 1.5,
        "created_at": 0.0,
        "identity": "local:x",
        **more,
    }
    whose = Owner("stack", owner, "atlas:Pod::web")
    return Thing("pod", HERE, ident, name="web", birth=Birth(birth) if birth else None, owner=whose, **fields)


def listed(*things: Thing, **more: Any) -> tuple[Inventory, ...]:
    return (Inventory(HERE, "pod", things, **more),)


def seen(operation: str = "same", **more: Any) -> Refresh:
    fields: dict[str, Any] = {"declared": {}, "after": {"status": "running", "cost_per_hour": 2.0}, **more}
    return Refresh({URN: Seen(URN, operation, id="pod-1", **fields)})  # type: ignore[arg-type]


def look(*resources: Any, pending: tuple[tuple[str, Any], ...] = (), after: Any = None, **more: Any) -> DriftReport:
    state = parse(export(*resources, pending=pending))
    return join(Sight("dev", state, parse(after) if after is not None else state, **more))


def only(report: DriftReport) -> DriftItem:
    [item] = report.items
    return item


def test_an_untouched_stack_has_no_items() -> None:
    found = look(WEB, refresh=seen(), inventories=listed(thing("pod-1", birth=A)))
    assert found.items == () and found.clean and found.complete


def test_a_changed_property_is_named_with_both_values_and_the_cost() -> None:
    refresh = seen("update", declared={"image": "a"}, live={"image": "b"}, paths=("image",))
    item = only(look(WEB, refresh=refresh))
    assert (item.status, item.kind, item.id, item.provider, item.cost_per_hour) == (
        "changed",
        "pod",
        "pod-1",
        "local",
        2.0,
    )
    assert [change.as_json() for change in item.changes] == [{"property": "image", "declared": "a", "live": "b"}]
    assert "--reconcile" in item.next and "--accept" in item.next


@pytest.mark.parametrize("live", ["stopped", "failed", "finished"])
def test_a_pod_that_is_to_run_and_does_not_is_stopped(live: str) -> None:
    refresh = seen("update", paths=("desired_status",), after={"status": live, "reason": "code 3"})
    item = only(look(WEB, refresh=refresh))
    assert item.status == "stopped" and live in item.reason and "code 3" in item.reason


def test_one_that_is_to_stand_still_and_runs_is_changed() -> None:
    refresh = seen(
        "update", declared={"desired_status": "stopped"}, live={"desired_status": "running"}, paths=("desired_status",)
    )
    assert only(look(WEB, refresh=refresh)).status == "changed"


def test_an_endpoint_that_no_longer_serves_is_stopped_though_no_argument_differs() -> None:
    api = resource("api", "Endpoint", birth=A, ident="ep-1")
    one = Seen(api["urn"], "update", before={"status": "ready"}, after={"status": "failed"})
    item = only(look(api, refresh=Refresh({api["urn"]: one})))
    assert item.status == "stopped"
    assert item.changes[0].as_json() == {"property": "status", "declared": "ready", "live": "failed"}


@pytest.mark.parametrize(
    ("after", "status"),
    [
        ({"status": "finished"}, "finished"),
        ({"status": "reaped", "reason": "idle for 900 s"}, "reaped"),
    ],
)
def test_what_ended_as_it_should_is_told_of_and_is_no_difference(after: dict[str, Any], status: str) -> None:
    found = look(WEB, refresh=seen(after=after))
    assert only(found).status == status
    assert found.clean


def test_a_reaped_thing_that_differs_is_reaped_all_the_same() -> None:
    item = only(look(WEB, refresh=seen("update", paths=("desired_status",), after={"status": "reaped"})))
    assert item.status == "reaped"


def test_on_exit_stop_with_success_is_finished() -> None:
    after = {"status": "stopped", "exit_code": 0}
    assert only(look(WEB, refresh=seen(declared={"on_exit": "stop"}, after=after))).status == "finished"


@pytest.mark.parametrize("spot", [True, False])
def test_what_is_there_no_more_is_gone_and_a_spot_machine_reclaimed(spot: bool) -> None:
    item = only(look(WEB, refresh=seen("delete", declared={"spot": spot}), inventories=listed()))
    assert item.status == ("reclaimed" if spot else "gone")
    assert item.cost_per_hour is None


def test_a_spot_machine_that_stands_still_was_taken_back() -> None:
    refresh = seen("update", declared={"spot": True}, paths=("desired_status",), after={"status": "stopped"})
    assert only(look(WEB, refresh=refresh)).status == "reclaimed"


def test_the_providers_own_word_is_the_reason() -> None:
    shown = listed(thing("pod-1", birth=A, status="terminated", reason="outbid"))
    item = only(look(WEB, refresh=seen("delete", declared={"spot": True}), inventories=shown))
    assert (item.status, item.reason) == ("reclaimed", "outbid")


@pytest.mark.parametrize(
    "inventories",
    [
        listed(complete=False),
        (Inventory(HERE, "pod", error="no answer"),),
        listed(thing("pod-1", birth=A)),
    ],
)
def test_nothing_is_gone_when_the_list_does_not_prove_it(inventories: tuple[Inventory, ...]) -> None:
    found = look(WEB, refresh=seen("delete"), inventories=inventories)
    assert {item.status for item in found.items} == {"unreachable"}
    assert not found.complete and not found.clean


def test_what_the_engine_could_not_ask_is_unreachable_with_its_reason() -> None:
    item = only(look(WEB, refresh=Refresh(failed={URN: "HTTP 500"})))
    assert (item.status, item.reason) == ("unreachable", "HTTP 500")
    assert only(look(WEB, refresh=Refresh())).status == "unreachable"


def test_a_thing_of_this_stack_in_no_state_is_leaked() -> None:
    item = only(look(WEB, refresh=seen(), inventories=listed(thing())))
    assert (item.status, item.urn, item.id, item.cost_per_hour) == ("leaked", None, "pod-9", 1.5)
    assert "--leaks" in item.next


@pytest.mark.parametrize("stranger", [thing(owner="0123456789abcdef"), thing(status="terminated")])
def test_strangers_and_what_is_already_ended_are_never_leaked(stranger: Thing) -> None:
    assert look(WEB, refresh=seen(), inventories=listed(stranger)).items == ()


def test_a_thing_is_known_by_its_id_first_and_then_by_its_birth() -> None:
    by_id = listed(thing("pod-1", birth=B))
    by_birth = listed(thing("pod-2", birth=A))
    assert look(WEB, refresh=seen(), inventories=by_id).items == ()
    assert look(WEB, refresh=seen(), inventories=by_birth).items == ()


def test_two_profiles_of_one_account_do_not_tell_of_a_thing_twice() -> None:
    twice = (*listed(thing()), Inventory(Place("local", "other"), "pod", (thing(),)))
    assert len(look(WEB, refresh=seen(), inventories=twice).items) == 1


def test_what_the_engine_let_go_is_said_to_be_let_go() -> None:
    item = only(look(WEB, refresh=seen(), inventories=listed(thing()), once_held=frozenset({B})))
    assert item.status == "leaked" and "retain_on_delete" in item.reason
    assert item.next == "atlas release pod-9 --provider local, or atlas compute terminate pod-9 --provider local"
    assert item.let_go


def test_a_pending_creation_is_unfinished_and_its_thing_is_told_of_once(note_for: Make) -> None:
    pending = (("creating", resource("web", birth=B)),)
    plan = RecoveryPlan("dev", remove=(note_for(B),))
    item = only(look(pending=pending, inventories=listed(thing()), plan=plan))
    assert (item.status, item.id, item.cost_per_hour) == ("unfinished", "pod-9", 1.5)


def test_an_open_note_is_unfinished_and_a_living_writers_in_progress(note_for: Make) -> None:
    dead = look(plan=RecoveryPlan("dev", remove=(note_for(B, thing_id="pod-9"),)), inventories=listed(thing()))
    assert (only(dead).status, only(dead).id) == ("unfinished", "pod-9")
    living = look(plan=RecoveryPlan("dev", busy=(note_for(B, alive=True),)), inventories=listed(thing()))
    assert only(living).status == "in_progress"
    assert living.clean


def test_beside_a_running_up_its_things_are_in_progress() -> None:
    creating = (("creating", resource("web", birth=B)),)
    young = listed(thing(created_at=1000.0))
    for found in (
        look(pending=creating, running=("process 7 on here",), inventories=young),
        look(running=("process 7 on here",), running_since=1000.0, inventories=young),
        look(WEB, pending=(("updating", WEB),), running=("process 7 on here",), refresh=seen("update")),
        look(WEB, pending=(("deleting", WEB),), running=("process 7 on here",), refresh=seen("delete")),
        look({**WEB, "delete": True}, running=("process 7 on here",), refresh=seen("delete")),
    ):
        assert {item.status for item in found.items} == {"in_progress"}
        assert found.clean


def test_an_old_leak_is_found_beside_a_running_up() -> None:
    found = look(running=("process 7 on here",), running_since=5000.0, inventories=listed(thing(created_at=10.0)))
    assert only(found).status == "leaked"


def test_what_changed_in_the_state_while_we_looked_is_in_progress() -> None:
    changed = export({**WEB, "outputs": {"image": "b"}})
    assert only(look(WEB, after=changed, refresh=seen("update", paths=("image",)))).status == "in_progress"
    assert only(look(WEB, after=export(), refresh=seen("delete"))).status == "in_progress"
    assert only(look(after=export(WEB), refresh=Refresh())).status == "in_progress"
    assert look(WEB, after=changed, refresh=seen("same")).items == ()


def test_what_was_replaced_and_not_deleted_is_unfinished() -> None:
    old = {**resource("web", birth=B, ident="pod-9"), "delete": True}
    found = look(WEB, old, refresh=seen(), inventories=listed(thing(), thing("pod-1", birth=A)))
    assert [(item.status, item.id, item.cost_per_hour) for item in found.items] == [("unfinished", "pod-9", 1.5)]


BUCKET = {"urn": "urn:pulumi:dev::proj::aws:s3:Bucket::store", "type": "aws:s3:Bucket"}


@pytest.mark.parametrize(
    ("operation", "by_hand", "next_"),
    [("creating", True, "--clear-pending-creates"), ("deleting", False, "--reconcile")],
)
def test_a_pending_creation_of_others_is_for_a_person_and_what_the_engine_settles_is_not(
    operation: str, by_hand: bool, next_: str
) -> None:
    item = only(look(pending=((operation, BUCKET),)))
    assert (item.status, item.urn, item.name, item.by_hand) == ("unfinished", BUCKET["urn"], "store", by_hand)
    assert next_ in item.next
    assert only(look(pending=((operation, BUCKET),), running=("process 7 on here",))).status == "in_progress"
    assert only(look(after=export(pending=((operation, BUCKET),)))).status == "in_progress"


def test_a_moved_or_copied_state_is_told_of_and_nothing_is_called_leaked() -> None:
    found = look(WEB, refresh=seen(), inventories=listed(thing()), moved=("file:///a dev", "file:///b dev"))
    assert {item.kind: item.status for item in found.items} == {"stack": "changed", "pod": "unreachable"}
    assert not found.complete
    assert all("adopt-owner" in item.next for item in found.items)


def test_what_is_only_read_is_no_business_of_ours() -> None:
    assert look({**WEB, "external": True}, refresh=seen("update", paths=("image",))).items == ()


def test_the_most_urgent_comes_first() -> None:
    found = look(WEB, refresh=seen("update", paths=("image",)), inventories=listed(thing()))
    assert [item.status for item in found.items] == ["leaked", "changed"]
