"""The companion's client for synchronous code."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from atlas_session.companion import _answers, _requests, _retry
from atlas_session.companion._answers import Answer
from atlas_session.companion._clock import SYSTEM, Clock
from atlas_session.companion._connection import Ticket
from atlas_session.companion._follow import Follower
from atlas_session.companion._open import Core, new_idempotency_key, with_key_to_repeat
from atlas_session.companion._requests import Request
from atlas_session.companion._transport import Stream
from atlas_session.companion.errors import BadAnswer, Busy, CompanionError, Unreachable
from atlas_session.companion.heartbeat import Heartbeat
from atlas_session.companion.values import Event, Session

__all__ = ["CompanionClient"]


class CompanionClient:
    """A companion's sessions, from synchronous code. May be used from several threads at once.

    ::

        with CompanionClient("https://companion.example", key=key) as companion:
            session = companion.open_session(template="notebook", owner="user-7")
            with companion.heartbeat(session.id, active=page.is_used, on_gone=page.close):
                serve(session.urls, session.token)
            companion.close_session(session.id)

    Args:
        base_url: https, or http on loopback; default: ``ATLAS_COMPANION_URL``.
        key: A backend's key, or a session's touch token; default: ``ATLAS_COMPANION_KEY``.
        allow_http: Allow http beyond loopback, where the network itself is trusted.
        connect_timeout_s: Seconds for a connection with its TLS.
        read_timeout_s: Seconds for an answer, all of it.
        quiet_timeout_s: Seconds without a byte after which a stream of events is taken for dead and begun anew.
        attempts: The most times that a request is sent. Only what is safe is sent again (reading, `touch`, `open_session`,
            `close_session`, and what did not arrive), after up to 8 s, or what the companion asks for, up to 30 s.
        tls: A context of your own, for example for a private authority. It must verify.
        clock: For tests.

    Proxies of the environment are not used, and redirects are not followed. All verbs raise `CompanionError`, and ValueError
    for arguments that cannot be sent.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        key: str | None = None,
        allow_http: bool = False,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 15.0,
        quiet_timeout_s: float = 45.0,
        attempts: int = 4,
        tls: ssl.SSLContext | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._core = Core(
            base_url,
            key,
            allow_http=allow_http,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            quiet_timeout_s=quiet_timeout_s,
            attempts=attempts,
            tls=tls,
            clock=clock,
        )

    def __repr__(self) -> str:
        return f"CompanionClient({self._core.endpoint.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What is under way in other threads ends with a RuntimeError. May be called twice."""
        self._core.transport.close()

    def open_session(
        self,
        *,
        template: str | None = None,
        spec: Mapping[str, Any] | None = None,
        owner: str | None = None,
        idle_ttl_s: float | None = None,
        max_lifetime_s: float | None = None,
        warn_before_s: float | None = None,
        on_idle: Literal["terminate", "stop"] | None = None,
        paused_ttl_s: float | None = None,
        budget: float | None = None,
        auth: Literal["bearer", "signed_url", "none"] | None = None,
        labels: Mapping[str, str] | None = None,
        wait: Literal["ready"] | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """A new session, with its `token` and `touch_token`; it becomes ready later (`events`, `get_session`).

        Args:
            template: The name of a template that the companion declares. Either this or `spec`.
            spec: What to rent, in full; needs an admin's key.
            owner: Whom it is for; limits count per owner.
            idle_ttl_s: Seconds without activity until it ends, or is paused. This and the following come from the template
                or the companion's settings when they are None, and cannot exceed the companion's limits.
            max_lifetime_s: Seconds until it ends in any case.
            warn_before_s: Seconds before a deadline at which to warn (event ``warning``); 0: never.
            on_idle: ``"stop"`` pauses it at the end of the idle time, where the provider can.
            paused_ttl_s: Seconds that a pause may last.
            budget: Money that it may cost.
            auth: What its visitors are let in with.
            labels: Texts to find it by.
            wait: ``"ready"``: answer when it is ready, or has failed, or `timeout_s` (up to 300, default 60) are over; the
                session is given as it then is: ask `is_ready`.
            idempotency_key: The same key with the same arguments gives the same session. One is made when it is None, so
                that a repeat after a lost answer opens no second one; keep one of your own to repeat across restarts.
        """
        name = idempotency_key if idempotency_key is not None else new_idempotency_key()
        lease = {
            "idle_ttl_s": idle_ttl_s,
            "max_lifetime_s": max_lifetime_s,
            "warn_before_s": warn_before_s,
            "on_idle": on_idle,
            "paused_ttl_s": paused_ttl_s,
            "budget": budget,
            "auth": auth,
            "labels": None if labels is None else dict(labels),
        }
        request = _requests.open_session(template, spec, owner, name, lease=lease, wait=wait, timeout_s=timeout_s)
        try:
            return self._session(request)
        except (Unreachable, Busy, BadAnswer) as error:
            with_key_to_repeat(error, name)
            raise

    def get_session(
        self, session_id: str, *, wait: Literal["ready"] | None = None, timeout_s: float | None = None
    ) -> Session:
        """The session as it is, or with ``wait="ready"`` as in `open_session`. Reading it is no activity."""
        return self._session(_requests.get_session(session_id, wait, timeout_s))

    def list_sessions(self, *, owner: str | None = None, status: str | None = None) -> Iterator[Session]:
        """The sessions of that owner, or in that status, or all; asked for page by page."""
        cursor, seen = None, set[str]()
        while True:
            request = _requests.list_sessions(owner, status, cursor)
            page = _answers.page(request, self._ask(request))
            yield from page.sessions
            cursor = page.next_cursor
            if cursor is None:
                return
            if cursor in seen:
                raise BadAnswer(f"{request}: the list goes round in circles")
            seen.add(cursor)

    def touch(self, session_id: str, *, source: str = "client", idle_s: float = 0.0, count: int = 1) -> Session:
        """Report activity: the last was `idle_s` seconds ago, and there were `count` since the last report."""
        return self._session(_requests.touch(session_id, source, idle_s, count))

    def extend(self, session_id: str, seconds: int) -> Session:
        """Move the deadline by that many seconds, as far as the session's limits allow."""
        return self._session(_requests.extend(session_id, seconds))

    def pause(self, session_id: str) -> Session:
        """Stop the machine and keep its disk. The answer comes before it has stopped."""
        return self._session(_requests.pause(session_id))

    def resume(self, session_id: str) -> Session:
        """Start a paused session again. The answer comes before it is ready."""
        return self._session(_requests.resume(session_id))

    def rotate(self, session_id: str) -> Session:
        """The session with a new `token`; tokens and signed URLs of before are refused from then on.

        When the answer is lost (Unreachable, `sent`), the new token is lost too: rotate again.
        """
        return self._session(_requests.rotate(session_id))

    def sign_url(
        self,
        session_id: str,
        path: str | None = None,
        *,
        port: str | int | None = None,
        url: str | None = None,
        expires_in_s: int = 600,
        method: str | None = None,
        prefix: bool = False,
        not_before: int | None = None,
        address: str | None = None,
        single_use: bool = False,
        form: Literal["url", "path"] = "url",
    ) -> str:
        """A URL of the session's pod that works without a header, for a while; for sessions with ``auth="signed_url"``.

        Args:
            path: At the pod, with its query if it has one. Either this or `url`.
            port: Of those that the pod has; default: its only one.
            url: The whole URL, one of the session's.
            expires_in_s: Seconds that it works, from `not_before`: up to seven days, or 900 in the path form.
            method: In capitals; default: ``GET``, which allows ``HEAD`` too.
            prefix: Allow everything below the path, which ends with ``/``.
            not_before: Unix seconds before which it does not work; default: now.
            address: The only client address (IPv4), or network (/64, IPv6), that may use it.
            single_use: It works once.
            form: ``"path"`` puts the grant before the path, so that relative addresses inside carry it along, as those
                of a playlist do: it is for the folder of the path.

        Rotate and the end of the session revoke it.
        """
        fields = {
            "path": path,
            "port": None if port is None else str(port),
            "url": url,
            "expires_in_s": expires_in_s,
            "method": method,
            "prefix": prefix or None,
            "not_before": not_before,
            "address": address,
            "single_use": single_use or None,
            "form": None if form == "url" else form,
        }
        request = _requests.sign_url(session_id, fields)
        return _answers.signed_url(request, self._ask(request))

    def close_session(self, session_id: str) -> Session:
        """End the session for good. The answer comes before it has ended; SessionEnded says that it had before."""
        return self._session(_requests.close_session(session_id))

    def events(self, session_id: str, *, last_event_id: str | None = None) -> Generator[Event, None, None]:
        """What happens to the session, as it happens; ends when it has ended. Reading it is no activity.

        Goes on by itself when the connection is lost, behind the last event given, for as long as it takes; only what must
        be known is raised: NoSuchSession, NotAllowed, Refused, BadAnswer, and at the very beginning Unreachable and Busy.
        An event ``gap`` says that some in between are no longer kept. `last_event_id`: go on behind this one.
        """
        return self._follow(Follower(session_id, last_event_id, attempts=self._core.attempts))

    def heartbeat(
        self,
        session_id: str,
        *,
        on_gone: Callable[[str], object],
        interval_s: float = 20.0,
        source: str = "client",
        active: Callable[[], bool] | None = None,
        on_warning: Callable[[Session], object] | None = None,
    ) -> Heartbeat:
        """A loop in a thread that touches the session while it is in use; see `Heartbeat`. Not yet started."""
        return Heartbeat(
            self._beat,
            session_id,
            on_gone=on_gone,
            interval_s=interval_s,
            source=source,
            active=active,
            on_warning=on_warning,
            clock=self._core.clock,
        )

    def _session(self, request: Request) -> Session:
        return _answers.session(request, self._ask(request))

    def _ask(self, request: Request) -> Answer:
        """The answer, sending again what may be and is worth it."""
        core, attempt = self._core, 0
        while True:
            attempt += 1
            try:
                return core.check(request, core.transport.send(request))
            except CompanionError as error:
                chance = core.clock.random()
                pause = _retry.pause_s(request, error, attempt=attempt, attempts=core.attempts, chance=chance)
                if pause is None:
                    raise
            self._core.transport.wait(pause)

    def _beat(self, request: Request, ticket: Ticket) -> Session:
        """One attempt, which the heartbeat can abort; it repeats by a schedule of its own."""
        core = self._core
        return _answers.session(request, core.check(request, core.transport.send(request, ticket)))

    def _follow(self, follower: Follower) -> Generator[Event, None, None]:
        while not follower.over:
            error: CompanionError | None = None
            stream: Stream | None = None
            try:
                stream = self._begin(follower)
                while stream is not None and not follower.over and (piece := stream.read()):
                    yield from follower.feed(piece)
            except CompanionError as failure:
                error = failure
            finally:
                if stream is not None:
                    stream.close()
            if not follower.over:
                self._core.transport.wait(follower.lost(error, chance=self._core.clock.random()))

    def _begin(self, follower: Follower) -> Stream | None:
        core = self._core
        answer, stream = core.transport.open(follower.request, Ticket())
        follower.begin(answer, streaming=stream is not None, key=core.endpoint.key, now=core.clock.wall())
        return stream
