"""What a companion's status looks like to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_atlas.cli._companion_views import span, when
from pulumi_atlas.cli._views import money

__all__ = ["fields", "needs_a_person"]

Json = Mapping[str, Any]


def fields(told: Json) -> list[tuple[str, str]]:
    """Names and values, whatever the companion tells."""
    return [(name.replace("_", " "), _words(name, value)) for name, value in told.items()]


def needs_a_person(told: Json) -> bool:
    """Kills are frozen by something that does not pass, a provider is out, or a pod does not go away."""
    states = told.get("sessions")
    irrevocable = states.get("irrevocable", 0) if isinstance(states, Mapping) else 0
    lasting = [reason for reason in told.get("frozen") or () if "start" not in str(reason)]
    return bool(irrevocable or lasting or told.get("outages"))


def _words(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name.endswith("_s"):
            return span(value)
        if name.endswith("_at"):
            return when(value)
        return money(float(value)) if "cost" in name else f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{inner} {_words(name, each)}".strip() for inner, each in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_words(name, each) for each in value)
    return str(value)
