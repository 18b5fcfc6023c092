"""What an import would do to one thing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pulumi_atlas.drift._import_plan import Step, Target, free_name, make_step
from pulumi_atlas.drift.stack_state import parse
from pulumi_atlas.errors import Conflict, InvalidSpec, NotFound, Unsupported
from pulumi_atlas.ids import Birth, Owner, StackId
from pulumi_atlas.models import Compute, ComputeSpec, ObservedEndpoint, ObservedVolume
from pulumi_atlas.providers.mock import MockProvider
from tests.unit.drift.conftest import STACK_ID, export, resource

BIRTH = Birth("c" * 20)
OTHER = Owner("stack", "feedfacefeedface", "atlas:Pod::x")


def pod(**fields: Any) -> Compute:
    name = fields.get("name", "web")
    known: dict[str, Any] = {
        "id": "p1", "provider": "mock", "account": "mock:default", "status": "running", "name": name, "birth": BIRTH,
        "owner": Owner("manual", "bob"), "spec": ComputeSpec(name=name, image="i"), "cost_per_hour": 0.5,
    }  # fmt: skip
    return Compute(**{**known, **fields})


def target(*resources: dict[str, Any], provider: Any = MockProvider, account: str | None = None, **more: Any) -> Target:
    state = parse(export(*resources))
    return Target("dev", StackId(STACK_ID), state, provider, account, "mock:default", **more)


def less(*names: str) -> Any:
    """A provider like mock, without some of its attributes."""
    return SimpleNamespace(**{name: getattr(MockProvider, name) for name in vars(MockProvider) if name not in names})


def step(thing: Any, where: Target | None = None, **more: Any) -> Step:
    kind = "volume" if isinstance(thing, ObservedVolume) else "pod"
    return make_step(kind, thing, where or target(), **{"name": "web", **more})  # type: ignore[arg-type]


def test_it_keeps_its_birth_and_gets_this_stack_as_owner() -> None:
    made = step(pod())
    assert made.tag.birth == BIRTH
    assert str(made.tag.owner) == f"stack:{STACK_ID}:atlas:Pod::web"
    assert made.stored is not None
    for side in (made.stored.inputs, made.stored.outputs):
        assert (side["birth"], side["owner"], side["name"]) == (BIRTH, str(made.tag.owner), "web")
        assert side["__provider"]
    assert (made.stored.outputs["account_id"], made.stored.outputs["status"]) == ("mock:default", "running")
    assert (made.retag, made.rename) == (True, False)


def test_what_has_no_birth_gets_one_of_its_own() -> None:
    first, second = step(pod(birth=None, owner=None)), step(pod(birth=None, owner=None))
    assert first.tag.birth != second.tag.birth


def test_a_profile_is_declared_too() -> None:
    assert step(pod(), target(account="team")).arguments["account"] == "team"


def test_another_name_is_given_to_the_thing_where_that_is_possible_in_place() -> None:
    assert step(pod(), name="other").rename
    stiff = less("compute_changes")
    with pytest.raises(Unsupported) as refused:
        step(pod(), target(provider=stiff), name="other")
    assert "--name web" in refused.value.hint
    assert not step(pod(), target(provider=stiff), name="web").rename
    with pytest.raises(Unsupported):
        step(pod(spec=None), name="other")


def test_a_name_that_the_stack_has_already_is_refused() -> None:
    there = target(resource("web", ident="p9", birth="d" * 20))
    with pytest.raises(Conflict, match="has pod web already"):
        step(pod(), there)
    assert step(ObservedVolume(id="v", provider="mock", account="a", size_gb=1, name="web"), there).name == "web"


def test_what_the_stack_holds_is_not_taken_twice_but_told_apart_from_what_it_only_reads() -> None:
    held = resource("there", ident="p1", birth=BIRTH)
    again = step(pod(), target(held), name="anything")
    assert (again.stored, again.name, again.retag) == (None, "there", True)
    assert again.tag.owner == Owner("stack", STACK_ID, "atlas:Pod::there")
    only_read = {**held, "external": True}
    assert step(pod(), target(only_read), name="mine").stored is not None


def test_another_stacks_thing_is_refused_unless_forced_and_then_said_so() -> None:
    with pytest.raises(Conflict) as refused:
        step(pod(owner=OTHER))
    assert OTHER.id in refused.value.message
    assert "--force" in refused.value.hint
    forced = step(pod(owner=OTHER), forced=True)
    assert any("may still hold it" in note for note in forced.notes)
    with pytest.raises(Conflict, match="session"):
        step(pod(owner=Owner("deployment", "d1", "s1")))


@pytest.mark.parametrize("key", ["p1", BIRTH])
def test_what_another_state_of_the_backend_holds_is_refused_whoever_owns_it(key: str) -> None:
    shared = target(others={key: "proj/prod"})
    with pytest.raises(Conflict, match="the state of stack proj/prod holds pod p1"):
        step(pod(), shared)
    assert any("stack proj/prod may still hold it" in note for note in step(pod(), shared, forced=True).notes)
    held = target(resource("there", ident="p1", birth=BIRTH), others={key: "proj/prod"})
    assert step(pod(), held).stored is None


def test_this_stacks_own_thing_that_its_state_has_lost_is_taken_back() -> None:
    lost = step(pod(owner=Owner("stack", STACK_ID, "atlas:Pod::web")))
    assert lost.stored is not None
    assert not lost.retag


def test_what_has_ended_or_is_being_made_is_refused() -> None:
    with pytest.raises(NotFound):
        step(pod(status="terminated"))
    with pytest.raises(Conflict, match="being made"):
        step(pod(), being_made=True)


def test_a_provider_that_cannot_change_owners_is_told_of() -> None:
    made = step(pod(), target(provider=less("retag")))
    assert not made.retag
    assert any("manual:bob" in note and "only this stack's state" in note for note in made.notes)


def test_it_is_not_told_of_a_thing_that_carries_this_stack_already() -> None:
    ours = pod(owner=Owner("stack", STACK_ID, "atlas:Pod::x"))
    assert not any("cannot change" in note for note in step(ours, target(provider=less("retag"))).notes)


def test_what_cannot_be_declared_is_refused_with_its_path() -> None:
    bare = ObservedEndpoint(id="e", provider="mock", account="a", status="ready", name="web")
    with pytest.raises(InvalidSpec) as refused:
        make_step("endpoint", bare, target(), name="web")
    assert refused.value.failures[0].path == "handler"


def test_a_failed_pod_and_a_relative_folder_are_told_of() -> None:
    made = step(pod(status="failed", spec=ComputeSpec(name="web", image="i", working_dir="w")))
    assert any("stopped" in note for note in made.notes)
    assert any("working_dir w" in note for note in made.notes)


def test_neither_the_plan_nor_its_parts_show_a_secret() -> None:
    made = step(pod(spec=ComputeSpec(name="web", image="i", env={"HF": "PLANTED"})))
    assert made.env == {"HF": "PLANTED"}
    shown = [repr(made), str(made.as_json()), *made.lines("dev")]
    assert not any("PLANTED" in text for text in shown)


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [("web", (), "web"), ("web", ("web", "web-2"), "web-3"), (None, (), "p1"), ("my pod!", (), "my-pod"), ("--", (), "imported")],
)  # fmt: skip
def test_names_for_what_nobody_named(name: str | None, taken: tuple[str, ...], expected: str) -> None:
    assert free_name(SimpleNamespace(name=name, id="p1"), taken) == expected
