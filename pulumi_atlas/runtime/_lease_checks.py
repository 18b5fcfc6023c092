"""What is wrong with the defaults of leases and with the limits: they must fit one another."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_atlas.config import Fault, RawSection
from pulumi_atlas.runtime.settings import RuntimeSettings

__all__ = ["look"]


def look(section: RawSection, settings: RuntimeSettings, environ: Mapping[str, str]) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings."""
    limits = settings.limits
    pairs = (
        ("idle_ttl_s", settings.idle_ttl_s, "max_idle_ttl_s", limits.max_idle_ttl_s),
        ("max_lifetime_s", settings.max_lifetime_s, "max_lifetime_s", limits.max_lifetime_s),
        ("budget", settings.budget, "max_budget", limits.max_budget),
    )
    faults, warnings = [], []
    for name, value, limit, most in pairs:
        if most is None:
            continue
        if value is not None and value > most:
            hint = f"set runtime.{name} to {most:g} or less"
            written = (name,) if name in section.value else ("limits", limit)
            faults.append(section.fault(written, f"the default {name} is {value:g}, and limits.{limit} {most:g}", hint))
        elif value is None and name == "max_lifetime_s":
            hint = f"set runtime.{name} to {most:g} or less"
            faults.append(section.fault((name,), f"is none, and limits.{limit} is {most:g}", hint))
    per_owner, all_ = limits.sessions_per_owner, limits.sessions
    if per_owner is not None and all_ is not None and per_owner > all_:
        faults.append(section.fault(("limits", "sessions_per_owner"), f"is more than limits.sessions, which is {all_}"))
    if settings.max_kills_per_minute == 0:
        hint = "nothing is ended but what its user closes; the bill grows"
        warnings.append(section.fault(("max_kills_per_minute",), "is 0", hint))
    return faults, warnings
