"""What `atlas doctor` found: plain values, and how to mend each problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Problem", "Report", "Severity"]

#: `error`: something does not work, or may cost money unseen; `warning`: it soon may; `note`: good to know.
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Problem:
    """What is wrong, and the command or sentence that mends it."""

    severity: Severity
    what: str
    mend: str

    def as_json(self) -> dict[str, str]:
        return {"severity": self.severity, "what": self.what, "mend": self.mend}


@dataclass(frozen=True)
class Report:
    """One examination. Each part is a JSON value; no key's value is in any of them."""

    atlas: Mapping[str, Any]
    python: Mapping[str, Any]
    sdk: Mapping[str, Any]
    engine: Mapping[str, Any]
    backend: Mapping[str, Any]
    project: Mapping[str, Any] | None
    config: Mapping[str, Any]
    providers: tuple[Mapping[str, Any], ...]
    folders: tuple[Mapping[str, Any], ...]
    locks: tuple[Mapping[str, Any], ...]
    pending: tuple[Mapping[str, Any], ...]
    intents: tuple[Mapping[str, Any], ...]
    problems: tuple[Problem, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(problem.severity == "note" for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
        """The keys, all always there:

        - ``healthy``; ``problems``: list of ``{severity, what, mend}``
        - ``atlas`` ``{version}``; ``python`` ``{version, path, system}``; ``sdk`` ``{version}``
        - ``engine`` ``{path, folder, version, language_host, problems}``; ``path`` is null when none was found
        - ``backend`` ``{url, source, kind}``; ``project`` ``{folder, name, stack}`` or null
        - ``config`` ``{file, provider, accounts}``
        - ``providers``: ``{name, abilities, needs_key, key_found, key_source, key_variable}``
        - ``folders``: ``{use, path, writable, free_gb}``
        - ``locks``: ``{path, project, stack, pid, host, taken_at, holder}``
        - ``pending``: ``{operation, urn, name, kind, birth, owner, provider, account}``
        - ``intents``: ``{birth, kind, name, provider, account, owner, state, thing_id, folder, age_s, writer, verdict}``
        """
        plain = ("atlas", "python", "sdk", "engine", "backend")
        lists = ("providers", "folders", "locks", "pending", "intents")
        return {
            "healthy": self.healthy,
            **{name: dict(getattr(self, name)) for name in plain},
            "project": dict(self.project) if self.project else None,
            "config": dict(self.config),
            **{name: [dict(row) for row in getattr(self, name)] for name in lists},
            "problems": [problem.as_json() for problem in self.problems],
        }
