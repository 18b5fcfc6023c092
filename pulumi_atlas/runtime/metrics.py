"""What a companion measures, as Prometheus reads it. Labels are bounded: none holds a session's id, an owner or free text.

::

    atlas_sessions{state}                                live sessions now
    atlas_cost_per_hour                                  what they cost, where the price is known
    atlas_irrevocable                                    asked to terminate, not confirmed, still paid for
    atlas_irrevocable_cost_per_hour
    atlas_frozen{reason}                                 1: no kill happens, and why
    atlas_kills_held{why}                                kills that are due and wait
    atlas_provider_outage{provider,account}              1: the provider does not answer
    atlas_orphans{kind}                                  things of ours that no live session has
    atlas_sessions_opened_total{template,outcome}        ready, failed, closed (before it was ready), refused
    atlas_time_to_ready_seconds                          from the request until it is usable
    atlas_touches_total{source}                          activity that counted
    atlas_touches_ignored_total                          of a source that is unknown or switched off
    atlas_warnings_total
    atlas_kills_total{cause}                             ends and pauses by a deadline
    atlas_cull_delay_seconds                             from the deadline until the end was written
    atlas_events_total{kind}
    atlas_provider_calls_total{provider,operation,outcome}
    atlas_provider_call_seconds{provider,operation}
    atlas_store_failures_total
    atlas_flush_seconds                                  one batch of touches made durable
    atlas_webhooks_total{webhook,outcome}                delivered, postponed, refused, given_up, gone

Prices are in the account's currency.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pulumi_atlas.models.session import EVENT_KINDS, FINAL_STATES, Cause, Session, SessionEvent, SessionState
from pulumi_atlas.runtime.ledger import Ledger

__all__ = ["CONTENT_TYPE", "Metrics"]

#: Of the text that `Metrics.text` gives.
CONTENT_TYPE = CONTENT_TYPE_LATEST

_LIVE_STATES: tuple[SessionState, ...] = tuple(state for state in get_args(SessionState) if state not in FINAL_STATES)
_OPENING: frozenset[SessionState] = frozenset({"requested", "provisioning"})
_NOT_USABLE_ANY_MORE = ("terminated", "failed")
_OTHER = "other"

_DELAY = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
_READY = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
_CALL = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)
_FLUSH = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """The figures of one companion, in a registry of their own.

    `listen` is a ledger's listener. What stands still between two scrapes is asked for at the scrape: whoever knows it sets
    `frozen` (the reasons), `held` (why → how many kills wait), `outages` (provider and account) and `orphans` (kind → count).
    They must not block. `sources`, `templates` and `webhooks` are the names that may be labels; others count as "other".
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        sources: Collection[str] = (),
        templates: Collection[str] = (),
        webhooks: Collection[str] = (),
    ) -> None:
        self._ledger = ledger
        self.frozen: Callable[[], Iterable[str]] = tuple
        self.held: Callable[[], Mapping[str, int]] = dict
        self.outages: Callable[[], Iterable[tuple[str, str | None]]] = tuple
        self.orphans: Callable[[], Mapping[str, int]] = dict
        self.registry = CollectorRegistry()
        self._make_counters()
        self._make_histograms()
        self.registry.register(_AtScrape(ledger, self))
        self._opening: set[str] = set()  # sessions that were not usable yet
        self._words = _Words()
        self._templates = frozenset(templates) | {"inline"}
        self._webhook_names = frozenset(webhooks)
        self._sources = {name: self._touches.labels(name) for name in (*sources, _OTHER)}

    def _make_counters(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._touches = counter("atlas_touches", "Activity that counted.", "source")
        self._ignored = counter("atlas_touches_ignored", "Touches whose source is unknown or switched off.")
        self._kills = counter("atlas_kills", "Sessions ended or paused by a deadline.", "cause")
        self._warnings = counter("atlas_warnings", "Warnings of a deadline.")
        self._calls = counter("atlas_provider_calls", "Calls of providers.", "provider", "operation", "outcome")
        self._failures = counter("atlas_store_failures", "Reads and writes that the store refused.")
        self._webhooks = counter("atlas_webhooks", "Attempts to deliver an event.", "webhook", "outcome")
        self._events = counter("atlas_events", "Events written.", "kind")
        self._opened = counter("atlas_sessions_opened", "How openings of sessions ended.", "template", "outcome")

    def _make_histograms(self) -> None:
        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

        self._delay = histogram("atlas_cull_delay_seconds", "From a deadline until the end was written.", _DELAY)
        self._ready = histogram("atlas_time_to_ready_seconds", "From the request until it is usable.", _READY)
        self._flush = histogram("atlas_flush_seconds", "One batch of touches made durable.", _FLUSH)
        self._call_seconds = histogram(
            "atlas_provider_call_seconds", "Duration of calls of providers.", _CALL, "provider", "operation"
        )

    def text(self) -> bytes:
        """All figures now, as `CONTENT_TYPE` says."""
        return generate_latest(self.registry)

    # -- told by the ledger

    def loaded(self) -> None:
        """The ledger took in what the store has: those that were being opened are still."""
        self._opening |= {live.id for live in self._ledger.live.values() if live.state in _OPENING}

    def listen(self, session: Session | None, events: Sequence[SessionEvent]) -> None:
        """Events that were just written."""
        for event in events:
            self._events.labels(event.kind if event.kind in EVENT_KINDS else _OTHER).inc()
            if event.kind == "warning":
                self._warnings.inc()
            if event.kind == "status" and session is not None:
                self._opening_of(session, event)

    def _opening_of(self, session: Session, event: SessionEvent) -> None:
        state = event.data.get("state")
        if state in _OPENING:
            self._opening.add(session.id)
        elif session.id in self._opening and state in ("ready", *_NOT_USABLE_ANY_MORE):
            self._opening.discard(session.id)
            outcome = {"ready": "ready", "failed": "failed"}.get(str(state), "closed")
            self._opened.labels(self._template(session.template), outcome).inc()
            if state == "ready":
                self._ready.observe(max(0.0, event.at - session.created_at))

    # -- told by the other parts

    def refused(self, template: str | None) -> None:
        """A session was not opened: a limit, or a request that makes no sense."""
        self._opened.labels(self._template(template), "refused").inc()

    def touch(self, source: str, count: int = 1) -> None:
        """Activity that counted."""
        self._sources.get(source, self._sources[_OTHER]).inc(count)

    def touch_ignored(self) -> None:
        """A touch whose source is unknown or switched off."""
        self._ignored.inc()

    def kill(self, cause: str, delay_s: float) -> None:
        """A deadline ended or paused a session, so many seconds after it had come."""
        self._kills.labels(cause if cause in get_args(Cause) else _OTHER).inc()
        self._delay.observe(max(0.0, delay_s))

    def call(self, provider: str, operation: str, outcome: str, duration_s: float) -> None:
        """A call of a provider ended. `outcome`: `ok`, or the kind of the error."""
        where = self._words.kept("provider", provider), self._words.kept("operation", operation)
        self._calls.labels(*where, self._words.kept("outcome", outcome)).inc()
        self._call_seconds.labels(*where).observe(duration_s)

    def store_failed(self) -> None:
        """A read or write of the store failed."""
        self._failures.inc()

    def flushed(self, duration_s: float) -> None:
        """A batch of touches is durable."""
        self._flush.observe(duration_s)

    def webhook(self, name: str, outcome: str) -> None:
        """An attempt to deliver an event: `delivered`, `postponed`, `refused` (no address is allowed), `given_up`, `gone`."""
        self._webhooks.labels(name if name in self._webhook_names else _OTHER, self._words.kept("sent", outcome)).inc()

    def _template(self, name: str | None) -> str:
        name = "inline" if name is None else name
        return name if name in self._templates else _OTHER


_Key = TypeVar("_Key", bound=tuple[str, ...])


class _Words:
    """Values of labels that nobody lists beforehand: so many different ones of each, then "other"."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._seen: dict[str, set[str]] = {}

    def kept(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value not in seen and len(seen) < self._most:
            seen.add(value)
        return value if value in seen else _OTHER


class _AtScrape(Collector):
    """What is counted when somebody asks, from what is in memory."""

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger, self._metrics = ledger, metrics

    def collect(self) -> Iterator[Metric]:
        states = Count[str]()
        cost = irrevocable_cost = 0.0
        for live in self._ledger.live.values():
            states[live.state] += 1
            cost += live.cost_per_hour or 0.0
            if live.state == "irrevocable":
                irrevocable_cost += live.cost_per_hour or 0.0
        yield _gauge("atlas_sessions", "Live sessions.", {(state,): states[state] for state in _LIVE_STATES}, "state")
        yield _gauge("atlas_cost_per_hour", "What live sessions cost an hour.", {(): cost})
        yield _gauge("atlas_irrevocable", "Terminations that are not confirmed.", {(): states["irrevocable"]})
        yield _gauge("atlas_irrevocable_cost_per_hour", "What those cost an hour.", {(): irrevocable_cost})
        metrics, kept = self._metrics, self._metrics._words.kept
        yield _gauge(
            "atlas_frozen", "Why no kill happens.", {(kept("reason", one),): 1 for one in metrics.frozen()}, "reason"
        )
        held = {(kept("why", why),): count for why, count in metrics.held().items()}
        yield _gauge("atlas_kills_held", "Kills that wait.", held, "why")
        down = {
            (kept("provider", provider), kept("account", account or "")): 1 for provider, account in metrics.outages()
        }
        yield _gauge("atlas_provider_outage", "Providers that do not answer.", down, "provider", "account")
        orphans = {(kind,): count for kind, count in metrics.orphans().items()}
        yield _gauge("atlas_orphans", "Things of ours that no live session has.", orphans, "kind")


def _gauge(name: str, text: str, values: Mapping[_Key, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
