"""The thread that reports to the companion and asks what verifies visitors."""

from __future__ import annotations

from atlas_session.guard._gate import Gate, Reporter

__all__ = ["Silent", "reporter_for"]


class Silent:
    """For a guard without a companion."""

    def ensure_started(self) -> None:
        pass

    def stop(self) -> None:
        pass


def reporter_for(gate: Gate) -> Reporter:
    """What the settings ask for."""
    return Silent()
