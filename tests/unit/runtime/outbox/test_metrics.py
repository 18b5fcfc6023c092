"""Figures for Prometheus: right, bounded, and all that the example's alerts name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml
from outbox_kit import MemoryStore, TurnedClock, event, session
from prometheus_client.parser import text_string_to_metric_families

from pulumi_atlas.runtime import metrics as module
from pulumi_atlas.runtime.ledger import Ledger, Live
from pulumi_atlas.runtime.metrics import Metrics


def made(*sessions: Any, **names: Any) -> Metrics:
    ledger = Ledger(MemoryStore(), TurnedClock())  # type: ignore[arg-type]
    for one in sessions:
        ledger.live[one.id] = Live(one, ledger.moment())
    return Metrics(ledger, **({"sources": ("http", "ws"), "templates": ("gpu",), "webhooks": ("billing",)} | names))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """As a scraper reads it."""
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def exercised() -> Metrics:
    """Every figure has a value."""
    metrics = made(session("a"), session("b", state="irrevocable", cost_per_hour=2.5))
    metrics.frozen = lambda: ["clock jumped"]
    metrics.held = lambda: {"provider outage": 3}
    metrics.outages = lambda: [("mock", None), ("mock", "team-a")]
    metrics.orphans = lambda: {"dead": 2}
    metrics.touch("http")
    metrics.touch_ignored()
    metrics.kill("idle", 0.2)
    metrics.call("mock", "create_compute", "ok", 0.5)
    metrics.store_failed()
    metrics.flushed(0.01)
    metrics.webhook("billing", "delivered")
    metrics.refused("gpu")
    opening = session("c", state="requested", template="gpu")
    metrics.listen(opening, [event("c", data={"state": "requested"}), event("c", "warning")])
    metrics.listen(opening, [event("c", data={"state": "ready"}, at=opening.created_at + 7)])
    return metrics


def test_sessions_and_money_are_counted_when_somebody_asks() -> None:
    some = [session("a", cost_per_hour=1.0), session("b"), session("c", state="irrevocable", cost_per_hour=2.5)]
    metrics = made(*some)
    assert value(metrics, "atlas_sessions", state="ready") == 2
    assert value(metrics, "atlas_sessions", state="paused") == 0
    assert value(metrics, "atlas_sessions", state="terminated") is None
    assert value(metrics, "atlas_cost_per_hour") == 3.5
    assert value(metrics, "atlas_irrevocable") == 1
    assert value(metrics, "atlas_irrevocable_cost_per_hour") == 2.5
    del metrics._ledger.live["c"]
    assert value(metrics, "atlas_irrevocable") == 0
    assert value(metrics, "atlas_cost_per_hour") == 1.0


def test_what_others_know_is_asked_for_at_each_scrape() -> None:
    metrics = exercised()
    assert value(metrics, "atlas_frozen", reason="clock jumped") == 1
    assert value(metrics, "atlas_kills_held", why="provider outage") == 3
    assert value(metrics, "atlas_provider_outage", provider="mock", account="") == 1
    assert value(metrics, "atlas_provider_outage", provider="mock", account="team-a") == 1
    assert value(metrics, "atlas_orphans", kind="dead") == 2
    metrics.frozen, metrics.outages = list, list
    assert value(metrics, "atlas_frozen", reason="clock jumped") is None
    assert value(metrics, "atlas_provider_outage", provider="mock", account="") is None


def test_what_happens_is_counted() -> None:
    metrics = exercised()
    metrics.touch("ws", 4)
    metrics.call("mock", "create_compute", "no_capacity", 40.0)
    metrics.kill("lifetime", 45.0)
    assert value(metrics, "atlas_touches_total", source="http") == 1
    assert value(metrics, "atlas_touches_total", source="ws") == 4
    assert value(metrics, "atlas_touches_ignored_total") == 1
    assert value(metrics, "atlas_kills_total", cause="idle") == 1
    assert value(metrics, "atlas_kills_total", cause="lifetime") == 1
    assert value(metrics, "atlas_cull_delay_seconds_bucket", le="0.25") == 1
    assert value(metrics, "atlas_cull_delay_seconds_bucket", le="60.0") == 2
    assert value(metrics, "atlas_cull_delay_seconds_sum") == pytest.approx(45.2)
    call = {"provider": "mock", "operation": "create_compute"}
    assert value(metrics, "atlas_provider_calls_total", **call, outcome="ok") == 1
    assert value(metrics, "atlas_provider_calls_total", **call, outcome="no_capacity") == 1
    assert value(metrics, "atlas_provider_call_seconds_count", **call) == 2
    assert value(metrics, "atlas_provider_call_seconds_sum", **call) == 40.5
    assert value(metrics, "atlas_store_failures_total") == 1
    assert value(metrics, "atlas_flush_seconds_count") == 1
    assert value(metrics, "atlas_webhooks_total", webhook="billing", outcome="delivered") == 1


def test_events_and_warnings_are_counted_as_they_are_written() -> None:
    metrics = made()
    metrics.listen(session(), [event(kind="warning"), event(kind="note"), event(kind="odd"), event()])
    metrics.listen(None, [event(None, "note")])
    assert value(metrics, "atlas_warnings_total") == 1
    assert value(metrics, "atlas_events_total", kind="note") == 2
    assert value(metrics, "atlas_events_total", kind="status") == 1
    assert value(metrics, "atlas_events_total", kind="other") == 1


@pytest.mark.parametrize(
    ("template", "label", "states", "outcome"),
    [
        ("gpu", "gpu", ["requested", "provisioning", "ready", "terminating", "terminated"], "ready"),
        ("gpu", "gpu", ["requested", "failed"], "failed"),
        (None, "inline", ["requested", "provisioning", "terminating", "terminated"], "closed"),
        ("nobody's", "other", ["requested", "terminating", "irrevocable", "failed"], "failed"),
    ],
)
def test_each_opening_counts_once_by_how_it_ended(
    template: str | None, label: str, states: list[str], outcome: str
) -> None:
    metrics, one = made(), session("a", state="requested", template=template)
    for after, state in enumerate(states):
        metrics.listen(one, [event("a", data={"state": state}, at=one.created_at + 4.0 * after)])
    opened = {
        sample.labels["outcome"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "atlas_sessions_opened_total" and sample.labels["template"] == label
    }
    assert opened == {outcome: 1}
    assert value(metrics, "atlas_time_to_ready_seconds_count") == (outcome == "ready")
    assert value(metrics, "atlas_time_to_ready_seconds_sum") == (8.0 if outcome == "ready" else 0.0)


def test_a_session_that_resumes_is_no_opening() -> None:
    metrics = made()
    metrics.listen(session("a"), [event("a", data={"state": "ready"})])
    assert value(metrics, "atlas_time_to_ready_seconds_count") == 0


def test_what_was_being_opened_before_a_restart_counts_when_it_is_ready() -> None:
    metrics = made(session("a", state="provisioning"), session("b"))
    metrics.loaded()
    metrics.listen(session("a"), [event("a", data={"state": "ready"})])
    metrics.listen(session("b"), [event("b", data={"state": "ready"})])
    assert value(metrics, "atlas_time_to_ready_seconds_count") == 1


def test_labels_are_bounded_whatever_others_say() -> None:
    metrics = exercised()
    for number in range(500):
        word = f"made-up-{number}"
        metrics.touch(word)
        metrics.kill(word, 0.0)
        metrics.call(word, word, word, 0.0)
        metrics.webhook(word, word)
        metrics.refused(word)
        metrics.listen(session(word, owner=word, template=word), [event(word, word, owner=word), event(word)])
    assert value(metrics, "atlas_touches_total", source="other") == 500
    assert value(metrics, "atlas_kills_total", cause="other") == 500
    text = metrics.text().decode()
    assert len(set(re.findall(r"made-up-\d+", text))) <= 64
    assert "made-up-499" not in text


def test_two_companions_in_one_process_share_nothing() -> None:
    one, other = made(), made()
    one.store_failed()
    assert value(one, "atlas_store_failures_total") == 1
    assert value(other, "atlas_store_failures_total") == 0
    assert b"atlas_" not in prometheus_client.generate_latest()


def test_the_module_lists_every_figure_with_its_labels() -> None:
    listed = dict(re.findall(r"^    (atlas_\w+)(?:\{([\w,]+)\})?", module.__doc__ or "", re.M))
    found: dict[str, str] = {}
    for family in exercised().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = ",".join(label for label in family.samples[0].labels if label != "le")
    assert found == listed


def test_the_alerts_of_the_example_name_only_what_is_there(root: Path) -> None:
    rules = yaml.safe_load((root / "examples/companion/alerts.yml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    samples = [sample for family in exercised().registry.collect() for sample in family.samples]
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    named: set[str] = set()
    for alert in alerts:
        expression = alert["expr"]
        mine = set(re.findall(r"\batlas_\w+", expression))
        assert mine and mine <= labels.keys(), alert
        used = re.findall(r"by \(([\w, ]+)\)", expression) + re.findall(r"(\w+)\s*[=!]~?\s*\"", expression)
        used += re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"])
        words = {word.strip() for one in used for word in one.split(",")}
        assert words <= set().union(*(labels[name] for name in mine)), alert
        named |= mine
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    assert {"atlas_irrevocable", "atlas_orphans", "atlas_frozen", "atlas_store_failures_total"} <= named
    assert "atlas_provider_outage" in named
