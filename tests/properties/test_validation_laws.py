"""Validation: whatever is given, the answer is a list of failures; what is wrong is found; unknowns are let through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.client.validation import check_endpoint, check_pod, check_volume, parse_for
from pulumi_atlas.errors import AtlasError, Failure, InvalidSpec
from pulumi_atlas.models import ComputeSpec, EndpointArgs, PodArgs, VolumeArgs
from pulumi_atlas.rules.unknown import UNKNOWN
from pulumi_atlas.rules.validation import failures_of, parse
from pulumi_atlas.testing import strategies as ours

CHECKS = ((check_pod, PodArgs), (check_volume, VolumeArgs), (check_endpoint, EndpointArgs))
FIELDS = sorted({*PodArgs.model_fields, *VolumeArgs.model_fields, *EndpointArgs.model_fields, "nonsense"})
ANYTHING = st.dictionaries(st.sampled_from(FIELDS), ours.json_values() | st.just(UNKNOWN), max_size=8)


@given(raw=ANYTHING, provider=st.sampled_from(["mock", "local", "nosuch", None]))
def test_checks_answer_any_json_with_failures_and_never_raise(raw: dict[str, Any], provider: str | None) -> None:
    given_ = {**raw, **({"provider": provider} if provider else {})}
    for check, model in CHECKS:
        for failure in check(model, given_):
            assert isinstance(failure, Failure)
            assert failure.message
            assert "\n" not in str(failure)


@given(raw=ANYTHING)
def test_parsing_any_json_gives_a_value_or_invalid_spec(raw: dict[str, Any]) -> None:
    known = {name: value for name, value in raw.items() if value is not UNKNOWN}
    for _, model in CHECKS:
        try:
            parse(model, known)
        except InvalidSpec as error:
            assert error.failures


@given(raw=ANYTHING)
def test_the_imperative_verbs_refuse_any_json_with_our_errors_only(raw: dict[str, Any]) -> None:
    try:
        parse_for(ComputeSpec, {name: value for name, value in raw.items() if value is not UNKNOWN}, "mock")
    except AtlasError as error:
        assert error.kind == "validation"


@given(raw=ours.raw_pods())
def test_what_a_program_may_say_of_a_pod_is_valid(raw: dict[str, Any]) -> None:
    assert not check_pod(PodArgs, raw)
    parse(PodArgs, raw)


@given(raw=ours.raw_volumes())
def test_what_a_program_may_say_of_a_volume_is_valid(raw: dict[str, Any]) -> None:
    assert not check_volume(VolumeArgs, raw)


@given(raw=ours.raw_endpoints())
def test_what_a_program_may_say_of_an_endpoint_is_valid(raw: dict[str, Any]) -> None:
    assert not check_endpoint(EndpointArgs, raw)


@given(data=st.data(), raw=ours.raw_pods())
def test_another_spelling_of_what_is_valid_is_valid(data: st.DataObject, raw: dict[str, Any]) -> None:
    assert not check_pod(PodArgs, data.draw(ours.respelled(raw)))


@given(raw=ours.wrong_pods())
def test_what_is_wrong_is_found_at_its_place_with_a_hint_or_a_clear_message(raw: dict[str, Any]) -> None:
    expected = raw.pop("expected")
    found = check_pod(PodArgs, raw)
    assert any(f.path == expected or f.path.startswith((f"{expected}.", f"{expected}[")) for f in found), found


@given(data=st.data(), raw=ours.raw_pods())
def test_unknowns_cause_no_failure_in_what_is_valid(data: st.DataObject, raw: dict[str, Any]) -> None:
    assert not check_pod(PodArgs, data.draw(ours.with_unknowns(raw)))


@given(data=st.data(), raw=ours.raw_endpoints())
def test_unknowns_cause_no_failure_in_a_valid_endpoint(data: st.DataObject, raw: dict[str, Any]) -> None:
    assert not check_endpoint(EndpointArgs, data.draw(ours.with_unknowns(raw)))


@given(data=st.data(), raw=ours.wrong_pods())
def test_unknowns_elsewhere_do_not_hide_what_is_wrong(data: st.DataObject, raw: dict[str, Any]) -> None:
    expected = raw.pop("expected")
    hidden = data.draw(ours.with_unknowns(raw, keep=("provider", expected)))
    if expected in ("ready", "provider"):
        return  # what is wrong there depends on the others
    found = check_pod(PodArgs, hidden)
    assert any(f.path == expected or f.path.startswith((f"{expected}.", f"{expected}[")) for f in found), found


@given(raw=ours.raw_pods(), secret=st.just("s3cr3t-value-0451"))
def test_a_failure_never_shows_a_value_of_env(raw: dict[str, Any], secret: str) -> None:
    for env in ({"A": [secret]}, {"A=B": secret}, [secret], secret, {"A": {secret: 1}}):
        for failure in check_pod(PodArgs, {**raw, "env": env}):
            assert secret not in failure.message
            assert secret not in failure.hint


@given(spec=ours.compute_specs())
def test_a_spec_survives_json(spec: ComputeSpec) -> None:
    assert ComputeSpec.model_validate_json(spec.model_dump_json()) == spec
    assert ComputeSpec.model_validate(spec.model_dump(mode="json", exclude_defaults=True)) == spec


@pytest.mark.parametrize("model", [PodArgs, VolumeArgs, EndpointArgs])
def test_all_unknown_is_no_failure(model: type[Any]) -> None:
    raw = dict.fromkeys(model.model_fields, UNKNOWN)
    assert not failures_of(model, raw)
