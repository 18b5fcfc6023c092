"""What a companion's answers look like to a person."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pulumi_atlas.cli._views import age, money

__all__ = [
    "EVENT_COLUMNS",
    "IRREVOCABLE_COLUMNS",
    "KEY_COLUMNS",
    "ORPHAN_COLUMNS",
    "SESSION_COLUMNS",
    "TEMPLATE_COLUMNS",
    "event_row",
    "irrevocable_row",
    "key_row",
    "orphan_row",
    "session_fields",
    "session_row",
    "span",
    "template_row",
    "when",
]

Row = tuple[str, ...]
Json = Mapping[str, Any]

SESSION_COLUMNS = ("ID", "STATE", "OWNER", "TEMPLATE", "PROVIDER", "ENDS IN", "BY", "COST", "AGE")
EVENT_COLUMNS = ("NUMBER", "WHEN", "SESSION", "EVENT", "WHAT", "CAUSE", "BY")
IRREVOCABLE_COLUMNS = ("ID", "PROVIDER", "POD", "OWNER", "$/H", "COST", "TRIES", "NEXT", "REASON")
ORPHAN_COLUMNS = ("POD", "PROVIDER", "ACCOUNT", "STATUS", "SINCE", "$/H", "ACTION", "WHY")
TEMPLATE_COLUMNS = ("NAME", "PROVIDER", "AUTH", "IDLE", "LIFETIME", "BACKENDS", "DESCRIPTION")
KEY_COLUMNS = ("ID", "SCOPE", "NAME", "AGE", "REVOKED")


def session_row(row: Json) -> Row:
    """A session under SESSION_COLUMNS."""
    ends = span(row.get("remaining_s")) if row.get("deadline_kind") else ""
    return (
        _text(row, "id"),
        _text(row, "state") or _text(row, "status"),
        _text(row, "owner"),
        _text(row, "template"),
        _text(row, "provider"),
        ends,
        _text(row, "deadline_kind"),
        _amount(row.get("cost")),
        _age(row.get("created_at"), row.get("now")),
    )


def session_fields(row: Json) -> list[tuple[str, str]]:
    """A session as names and values; what was issued just now last."""
    state, why = _text(row, "state") or _text(row, "status"), _text(row, "reason")
    ends = ""
    if row.get("deadline_kind"):
        ends = f"in {span(row.get('remaining_s'))}, by {row['deadline_kind']} ({when(row.get('deadline'))})"
    alive = ""
    if row.get("active_at") is not None:
        alive = f"{_age(row['active_at'], row.get('now'))} ago, by {row.get('active_source') or 'its opening'}"
    urls = row.get("urls") or {}
    labels = row.get("labels") or {}
    return [
        ("id", _text(row, "id")),
        ("state", f"{state} ({why})" if why else state),
        ("cause", _text(row, "cause")),
        ("owner", _text(row, "owner")),
        ("template", _text(row, "template")),
        ("provider", " ".join(filter(None, (_text(row, "provider"), _text(row, "account"))))),
        ("pod", _text(row, "pod_id")),
        ("urls", "\n".join(f"{port} → {url}" for port, url in urls.items())),
        ("labels", "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))),
        ("ends", ends),
        ("at idle", _text(row, "on_idle")),
        ("last active", alive),
        ("expires", when(row.get("expires_at"))),
        ("cost", _cost(row)),
        ("budget", _amount(row.get("budget"))),
        ("generation", _text(row, "generation")),
        ("auth", _text(row, "auth")),
        ("touch token", _text(row, "touch_token")),
        ("token", _text(row, "token")),
    ]


def event_row(row: Json) -> Row:
    """An event under EVENT_COLUMNS."""
    data = row.get("data")
    told: Json = data if isinstance(data, Mapping) else {}
    what = told.get("state")
    if row.get("event") == "warning":
        what = told.get("warned_of") or told.get("deadline_kind")
    return (
        _text(row, "id"),
        when(told.get("at")),
        _text(told, "id"),
        _text(row, "event"),
        "" if what is None else str(what),
        _text(told, "cause"),
        _text(told, "actor"),
    )


def irrevocable_row(row: Json) -> Row:
    """A session that does not go away, under IRREVOCABLE_COLUMNS."""
    return (
        _text(row, "id"),
        _text(row, "provider"),
        _text(row, "pod_id"),
        _text(row, "owner"),
        money(row.get("cost_per_hour")),
        _amount(row.get("cost")),
        _text(row, "attempts"),
        when(row.get("next_attempt_at")),
        _text(row, "reason"),
    )


def orphan_row(row: Json) -> Row:
    """A pod that no live session holds, under ORPHAN_COLUMNS."""
    return (
        _text(row, "id"),
        _text(row, "provider"),
        _text(row, "account"),
        _text(row, "status"),
        when(row.get("since")),
        money(row.get("cost_per_hour")),
        _text(row, "action"),
        _text(row, "why"),
    )


def template_row(row: Json) -> Row:
    """A template under TEMPLATE_COLUMNS."""
    return (
        _text(row, "name"),
        _text(row, "provider"),
        _text(row, "auth"),
        span(row.get("idle_ttl_s")),
        span(row.get("max_lifetime_s")),
        "" if row.get("for_backends") is None else ("yes" if row["for_backends"] else "no"),
        _text(row, "description"),
    )


def key_row(row: Json) -> Row:
    """A key of the API under KEY_COLUMNS."""
    return (
        _text(row, "id"),
        _text(row, "scope"),
        _text(row, "name"),
        _age(row.get("created_at"), time.time()),
        when(row.get("revoked_at")),
    )


def span(seconds: Any) -> str:
    """A length of time in its two largest units: `45s`, `14m 30s`, `2h 5m`, `6d 23h`."""
    if not isinstance(seconds, int | float):
        return ""
    left, words = max(0, round(seconds)), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
        elif words:
            break
    return " ".join(words[:2]) or "0s"


def when(moment: Any) -> str:
    """A time for a person, UTC."""
    if not isinstance(moment, int | float):
        return ""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(moment: Any, now: Any) -> str:
    if not isinstance(moment, int | float):
        return ""
    here = now if isinstance(now, int | float) else time.time()
    return age(datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(here, UTC))


def _cost(row: Json) -> str:
    spent, rate = _amount(row.get("cost")), money(row.get("cost_per_hour"))
    if not rate:
        return spent or ("" if row.get("state") == "requested" else "not known")
    return f"{spent or '0.00'}, {rate} per hour"


def _amount(value: Any) -> str:
    return money(float(value)) if isinstance(value, int | float) else ""


def _text(row: Json, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)
