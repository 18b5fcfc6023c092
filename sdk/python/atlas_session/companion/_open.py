"""What both faces of the client are made with, and say of themselves."""

from __future__ import annotations

import ssl
import uuid

from atlas_session.companion import _answers
from atlas_session.companion._answers import Answer
from atlas_session.companion._clock import Clock
from atlas_session.companion._endpoint import endpoint
from atlas_session.companion._requests import Request
from atlas_session.companion._transport import Transport
from atlas_session.companion.errors import CompanionError

__all__ = ["Core", "new_idempotency_key", "with_key_to_repeat"]


class Core:
    """The settings of a client, checked, and the transport."""

    def __init__(
        self,
        base_url: str | None,
        key: str | None,
        *,
        allow_http: bool,
        connect_timeout_s: float,
        read_timeout_s: float,
        quiet_timeout_s: float,
        attempts: int,
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= 20:
            raise ValueError("attempts is a whole number from 1 to 20")
        self.endpoint = endpoint(base_url, key, allow_http=allow_http)
        self.attempts = attempts
        self.clock = clock
        self.transport = Transport(
            self.endpoint,
            connect_s=connect_timeout_s,
            read_s=read_timeout_s,
            quiet_s=quiet_timeout_s,
            tls=tls,
            clock=clock,
        )

    def check(self, request: Request, answer: Answer) -> Answer:
        """The answer, when it is none of the errors."""
        error = _answers.refusal(request, answer, key=self.endpoint.key, now=self.clock.wall())
        if error is not None:
            raise error
        return answer


def new_idempotency_key() -> str:
    return str(uuid.uuid4())


def with_key_to_repeat(error: CompanionError, idempotency_key: str) -> None:
    """Let the error say how to ask again for the very session that may have been opened."""
    told = f"the session may have been opened; the same call with idempotency_key={idempotency_key!r} gives it"
    error.hint = f"{error.hint}; {told}" if error.hint else told
