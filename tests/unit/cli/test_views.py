"""What is printed of a thing: all that is useful, and no secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.cli import _table, _views
from pulumi_atlas.ids import Owner, new_birth
from pulumi_atlas.models import Compute, ComputeSpec, EndpointSpec, ObservedEndpoint, ObservedPort

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def pod(**fields: object) -> Compute:
    base = {"id": "pod-1", "provider": "local", "account": "a", "status": "running"}
    return Compute.model_validate({**base, **fields})


def endpoint() -> ObservedEndpoint:
    spec = EndpointSpec(handler="m:f", env={"TOKEN": "hunter2"})
    raw = {"key": "hunter2", "template": {"env": ["A=hunter2"], "apiKey": "x", "api_key": "hunter2"}}
    return ObservedEndpoint(
        id="e", provider="local", account="a", status="ready", key="hunter2", spec=spec, raw=raw, url="http://x"
    )


def test_env_keys_and_whatever_is_named_like_a_secret_are_masked_wherever_they_stand() -> None:
    thing = pod(spec=ComputeSpec(env={"PASS": "hunter2"}), raw={"env": {"PASS": "hunter2"}, "token": "hunter2", "n": 1})
    shown = _views.compute(thing, show_secrets=False)
    assert "hunter2" not in str(shown)
    assert shown["spec"]["env"] == {"PASS": "***"}
    assert shown["raw"]["n"] == 1
    assert "hunter2" not in str(_views.compute_fields(thing, NOW, show_secrets=False))
    assert "hunter2" not in str(_views.endpoint(endpoint(), show_secrets=False))
    assert "hunter2" not in str(_views.endpoint_fields(endpoint(), NOW, show_secrets=False))


def test_secrets_are_shown_when_asked_for() -> None:
    assert _views.endpoint(endpoint(), show_secrets=True)["key"] == "hunter2"
    assert ("env", "TOKEN=hunter2") in _views.endpoint_fields(endpoint(), NOW, show_secrets=True)


def test_the_json_of_a_pod_holds_its_urls_and_its_owner_as_text() -> None:
    ports = (ObservedPort(internal=80, url="http://127.0.0.1:5"),)
    shown = _views.compute(pod(ports=ports, owner=Owner("manual", "me"), birth=new_birth()), show_secrets=False)
    assert shown["urls"] == {"80": "http://127.0.0.1:5"}
    assert shown["owner"] == "manual:me"


def test_a_pods_fields_say_why_it_is_as_it_is() -> None:
    fields = dict(_views.compute_fields(pod(status="failed", reason="no", exit_code=3), NOW, show_secrets=False))
    assert fields["status"] == "failed (no)"
    assert fields["exit code"] == "3"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (47 * 3600, "47h"), (3 * 86_400, "3d")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, text: str) -> None:
    assert _views.age(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(("price", "text"), [(0.0, "0.00"), (3.5, "3.50"), (0.0001, "0.0001"), (12, "12.00")])
def test_a_price_has_cents_and_no_more_than_it_needs(price: float, text: str) -> None:
    assert _views.money(price) == text


def test_the_rows_have_as_many_cells_as_their_heads() -> None:
    assert len(_views.compute_row(pod(), NOW)) == len(_views.COMPUTE_COLUMNS)
    assert len(_views.endpoint_row(endpoint(), NOW)) == len(_views.ENDPOINT_COLUMNS)


def test_a_plain_table_is_aligned_leaves_out_empty_columns_and_marks_empty_cells() -> None:
    text = _table.plain(("ID", "NAME", "GPU"), [("a", "", ""), ("bbb", "two", "")])
    assert text == "ID   NAME\na    -\nbbb  two\n"


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1))
def test_no_name_given_by_a_stranger_breaks_a_line_or_drives_the_terminal(rows: list[tuple[str, str]]) -> None:
    text = _table.plain(("ID", "NAME"), rows)
    assert text.count("\n") == len(rows) + 1
    assert not any(ord(sign) < 32 and sign != "\n" for sign in text)
    assert "\x1b" not in _table.fields([("name", rows[0][1].replace("\n", ""))])
