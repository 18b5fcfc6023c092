"""What a companion's status and its reaper's plan look like to a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_atlas.cli._companion_views import span, when
from pulumi_atlas.cli._views import money

__all__ = ["PLAN_COLUMNS", "fields", "held_back", "needs_a_person", "plan_row"]

Json = Mapping[str, Any]

PLAN_COLUMNS = ("SESSION", "OWNER", "ACT", "BECAUSE OF", "OVERDUE", "HELD BACK BY")
#: Passes by itself: no reason to call anybody.
STARTING = "starting"


def fields(told: Json) -> list[tuple[str, str]]:
    """Names and values of a status."""
    store, sweep, look = (_part(told, name) for name in ("store", "sweep", "inspection"))
    states = _part(told, "sessions")
    name = f"{told.get('name') or ''} ({told.get('version') or 'unknown version'}), up {span(told.get('uptime_s'))}"
    return [
        ("companion", name),
        ("deployment", str(told.get("deployment_id") or "")),
        ("ready", "no, it is stopping" if told.get("draining") else "yes" if told.get("ready") else "no"),
        ("sessions", ", ".join(f"{count} {state}" for state, count in states.items()) or "none"),
        ("cost per hour", money(told.get("cost_per_hour"))),
        ("at work on", str(told.get("working") or "")),
        ("frozen", "\n".join(map(str, told.get("frozen") or ()))),
        ("outages", "\n".join(_outages(told.get("outages")))),
        ("kills", f"{told.get('kills_last_minute', 0)} in the last minute, {told.get('max_kills_per_minute')} allowed"),
        ("held back", _some(told.get("waiting"), "past their deadline")),
        ("store", "" if store.get("confirmed") else f"not confirmed: {store.get('frozen', '')}"),
        ("inspected", when(look.get("looked_at"))),
        ("other account", _some(look.get("wrong_account"), "made in an account that is not reached now")),
        ("orphans", _orphans(sweep)),
    ]


def needs_a_person(told: Json) -> bool:
    """Kills are frozen by something that does not pass, a provider is out, a pod does not go away or is nobody's."""
    lasting = [reason for reason in told.get("frozen") or () if reason != STARTING]
    sweep, look = _part(told, "sweep"), _part(told, "inspection")
    stuck = _part(told, "sessions").get("irrevocable")
    return bool(lasting or told.get("outages") or stuck or sweep.get("orphans") or look.get("wrong_account"))


def held_back(plan: Json) -> list[str]:
    """What holds back kills as a whole, as sentences."""
    said = [f"kills are frozen: {reason}" for reason in plan.get("frozen") or ()]
    return said + [f"nothing of a provider in outage is ended: {outage}" for outage in _outages(plan.get("outages"))]


def plan_row(row: Json) -> tuple[str, ...]:
    """One line of the plan under PLAN_COLUMNS."""
    return (
        str(row.get("id") or ""),
        str(row.get("owner") or ""),
        str(row.get("act") or ""),
        str(row.get("deadline") or ""),
        span(row.get("overdue_s")),
        str(row.get("held") or ""),
    )


def _orphans(sweep: Json) -> str:
    if not sweep.get("orphans"):
        return ""
    rate = f", {money(sweep.get('cost_per_hour'))} per hour" if sweep.get("cost_per_hour") else ""
    return f"{sweep['orphans']}{rate} (`atlas runtime orphans`; sweep: {sweep.get('mode')})"


def _outages(value: Any) -> Iterator[str]:
    for row in value if isinstance(value, list | tuple) else ():
        if isinstance(row, Mapping):
            place = " ".join(str(row[name]) for name in ("provider", "account") if row.get(name))
            since = f" since {when(row.get('since'))}" if row.get("since") is not None else ""
            why = f": {row.get('error')}" if row.get("error") else ""
            yield f"{place}{since}{why}"
        else:
            yield str(row)


def _some(count: Any, words: str) -> str:
    return f"{count} {words}" if count else ""


def _part(told: Json, name: str) -> Json:
    value = told.get(name)
    return value if isinstance(value, Mapping) else {}
