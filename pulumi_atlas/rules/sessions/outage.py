"""When does a provider count as down?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pulumi_atlas.rules.sessions.lease import Moment

__all__ = ["FAILURES", "Health"]

#: So many failures in a row make an outage.
FAILURES = 3


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one account of a provider. `since` is the wall time of the first failure in the present row.

    Who has never answered is down at its first failure: nothing is known that would speak for it.
    """

    answered: bool = False
    failures: int = 0
    certain: bool = False
    since: float | None = None
    error: str = ""

    @property
    def down(self) -> bool:
        return self.failures >= FAILURES or (self.failures > 0 and (self.certain or not self.answered))

    def failed(self, error: str, now: Moment, *, certain: bool = False) -> Health:
        """One failure more. `certain`: one is enough, as when another account answers."""
        return replace(
            self,
            failures=self.failures + 1,
            certain=self.certain or certain,
            since=now.wall if self.since is None else self.since,
            error=error,
        )

    def answers(self) -> Health:
        """It answered."""
        return Health(answered=True)
