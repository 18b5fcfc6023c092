"""Whether a request that failed is sent again, and when: a function of values."""

from __future__ import annotations

from atlas_session.companion._requests import Request
from atlas_session.companion.errors import BadAnswer, Busy, CompanionError, Unreachable

__all__ = ["LONGEST_WAIT_S", "pause_s"]

#: A companion that asks for a longer wait than this is not waited for: the caller decides.
LONGEST_WAIT_S = 30.0

_FIRST_S, _MOST_S = 0.25, 8.0


def pause_s(request: Request, error: CompanionError, *, attempt: int, attempts: int, chance: float) -> float | None:
    """Seconds to wait before the request is sent again, None to give up.

    `attempt`: how many were made, from 1; `attempts`: the most to make; `chance`: from 0 up to 1. The wait is drawn evenly
    from nothing up to a quarter second, doubled with each attempt up to 8 s; what the companion asks for is added to it.
    """
    if attempt >= attempts or not _may_repeat(request, error):
        return None
    asked = (error.retry_after_s or 0.0) if isinstance(error, Busy) else 0.0
    if asked > LONGEST_WAIT_S:
        return None
    return asked + chance * min(_MOST_S, _FIRST_S * 2.0 ** min(attempt - 1, 16))


def _may_repeat(request: Request, error: CompanionError) -> bool:
    if isinstance(error, Unreachable):
        return request.safe or not error.sent
    if isinstance(error, Busy):
        return request.safe or error.status == 429  # by contract, nothing was done
    return isinstance(error, BadAnswer) and error.status == 500 and request.safe
