"""The guard as WSGI middleware."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from atlas_session.guard._answers import adds_nothing, answer, application_headers
from atlas_session.guard._contained import Contained
from atlas_session.guard._decide import Admitted, Answered, Refused, Verdict
from atlas_session.guard._environ import Environ, admit, facts_of, hide
from atlas_session.guard._facts import Facts
from atlas_session.guard._gate import Gate, Reporter
from atlas_session.guard._link import reporter_for
from atlas_session.guard._settings import GuardConfigError, GuardSettings
from atlas_session.guard._upload import CountedInput

__all__ = ["WsgiApp", "WsgiGuard"]

#: As PEP 3333 says; `wsgiref.types` has them in full.
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

# PEP 3333: each character stands for one byte.
_SCRIPT_NAME = re.compile(r"(?:/[!-.0-~\x80-\xff]+)*")


class WsgiGuard:
    """Lets in who has a token or a signed URL, and shows the application nothing of either.

    Args:
        app: A WSGI application. ``environ["atlas.access"]`` tells it how the visitor came in: ``how``, ``grant``, ``address``.
        settings: Default: from the environment (`GuardSettings.from_env`).
        clock: Gives unix seconds.
        reporter: Makes what reports to the companion; default: a thread, where the settings name a companion.
        script_name: ``SCRIPT_NAME`` as the server gives it, such as ``/app``. A request with another one is refused:
            gunicorn takes it from a header of the visitor's, where its peer is on loopback.

    Raises GuardConfigError when the settings verify nobody, or `script_name` is none. An answer that is under way ends
    at its next piece when its token is revoked or the generation rises. What the application raises for a signed URL is
    logged here and answered with 500: servers log it with the URL. Servers for development (wsgiref, Werkzeug's) log the
    request's first line before any application sees it: signed URLs with it.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: GuardSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        reporter: Callable[[Gate], Reporter] = reporter_for,
        script_name: str = "",
    ) -> None:
        if not isinstance(script_name, str) or _SCRIPT_NAME.fullmatch(script_name) is None:
            raise GuardConfigError(["script_name: expected is /path, without a slash at its end, or nothing"])
        self.app = app
        self.script_name = script_name
        self.settings = GuardSettings.from_env() if settings is None else settings
        self.gate = Gate(self.settings, clock=clock)
        self._reporter = reporter(self.gate)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._reporter.ensure_started()
        facts = facts_of(environ)
        verdict = self._judge(environ, facts)
        if isinstance(verdict, Admitted):
            if admit(environ, verdict, facts):
                self.gate.note("http", verdict)
                return self._serve(verdict, facts, environ, start_response)
            verdict = Refused(403, "outside SCRIPT_NAME", address=verdict.address)
            self.gate.log_refusal(verdict, facts)
        hide(environ, facts)
        return self._answer(verdict, facts, start_response)

    def _judge(self, environ: Environ, facts: Facts) -> Verdict:
        if environ.get("SCRIPT_NAME", "") == self.script_name:
            return self.gate.judge(facts)
        # What is judged is the whole path; the application looks at the rest of it alone.
        verdict = Refused(400, "SCRIPT_NAME is not the configured one", address=facts.peer)
        self.gate.log_refusal(verdict, facts)
        return verdict

    def _answer(self, verdict: Refused | Answered, facts: Facts, start_response: StartResponse) -> Iterable[bytes]:
        status, headers, body = answer(verdict, facts, self.settings)
        start_response(_status_line(status), headers)
        return [body] if body else []

    def _serve(
        self, admitted: Admitted, facts: Facts, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        gate, plain = self.gate, adds_nothing(admitted, self.settings)
        if "wsgi.input" in environ:
            environ["wsgi.input"] = CountedInput(environ["wsgi.input"], lambda: gate.note("upload", admitted))

        def begin(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, application_headers(headers, admitted, facts, gate.settings), *exc_info)

        start = start_response if plain else begin
        if admitted.is_signed or admitted.query != facts.query:  # a grant stands in the URL
            answered = Contained(start, head=facts.method == "HEAD").call(self.app, environ)
        else:
            answered = self.app(environ, start)
        if not gate.can_change or isinstance(answered, list | tuple):
            return answered
        return _Stream(answered, gate, admitted)


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


class _Stream:
    """An application's pieces, for as long as their visitor is let in."""

    def __init__(self, pieces: Iterable[bytes], gate: Gate, admitted: Admitted) -> None:
        self._pieces = pieces
        self._gate = gate
        self._admitted = admitted

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if not self._gate.holds(self._admitted):
                raise ConnectionAbortedError("access ended")
            yield piece

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
