"""Sessions: opened, shown, kept, paused, ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query
from starlette.responses import Response

from pulumi_atlas.errors import Failure, Forbidden, InsufficientFunds, InvalidSpec, RateLimited
from pulumi_atlas.models.session import SessionRequest, SessionState
from pulumi_atlas.runtime.companion import Companion, Opening
from pulumi_atlas.runtime.http.answers import answer, caller_of, encoded, problems
from pulumi_atlas.runtime.http.body import digest
from pulumi_atlas.runtime.http.bounds import MAX_ANSWER
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.problem import Refusal
from pulumi_atlas.runtime.http.shapes import (
    Extension,
    OpenedView,
    ResumedView,
    SessionList,
    SessionView,
    SignedUrl,
    SignedUrlRequest,
    Touch,
    TouchView,
    VerifierView,
)

__all__ = ["routes"]

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Asking = Annotated[Caller, Depends(caller_of)]
Wait = Annotated[Literal["ready"] | None, Query()]
WaitS = Annotated[float, Query(gt=0, le=300, allow_inf_nan=False)]
IdempotencyKey = Annotated[str | None, Header(pattern=r"^[!-~]{1,255}$")]

_GONE = problems(404, 409, 410)


def routes(companion: Companion) -> APIRouter:
    """The router, for this companion."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])
    _opening(router, companion)
    _reading(router, companion)
    _keeping(router, companion)
    _power(router, companion)
    _doors(router, companion)
    return router


def _opening(router: APIRouter, companion: Companion) -> None:
    under_way: set[tuple[str, str]] = set()

    @router.post("", status_code=201, response_model=OpenedView, responses=problems(402, 408, 409, 413, 415, 429, 502))
    async def open_session(
        request: SessionRequest,
        caller: Asking,
        wait: Wait = None,
        timeout_s: WaitS = 60.0,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Open a session. The same `Idempotency-Key` and body give the same answer, tokens included."""
        _may_open(companion, request, caller)
        try:
            opened = await _opened(companion, under_way, request, caller, idempotency_key)
        except (InvalidSpec, RateLimited, InsufficientFunds):
            companion.metrics.refused(request.template)
            raise
        shown = companion.show(opened.session)
        if wait is not None:
            shown = await _waited(companion, opened.session.id, timeout_s)
        location = f"/v1/sessions/{opened.session.id}"
        return answer(_with_tokens(shown, opened), 201, {"Location": location})


def _reading(router: APIRouter, companion: Companion) -> None:
    @router.get("", response_model=SessionList, responses=problems())
    async def list_sessions(
        caller: Asking,
        owner: Annotated[str | None, Query(min_length=1, max_length=128)] = None,
        status: SessionState | None = None,
        template: Annotated[str | None, Query(min_length=1, max_length=128)] = None,
        cursor: Annotated[str | None, Query(min_length=1, max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> Response:
        """Sessions in order of creation."""
        states = None if status is None else (status,)
        while True:
            page = await companion.page(owner=owner, states=states, template=template, cursor=cursor, limit=limit)
            shown = [companion.show(one) for one in page.sessions]
            body = encoded({"sessions": shown, "next_cursor": page.next_cursor})
            if len(body) <= MAX_ANSWER or limit == 1:
                return Response(body, 200, media_type="application/json")
            limit = max(1, limit // 2)

    @router.get("/{session_id}", response_model=SessionView, responses=problems(404))
    async def get_session(session_id: Id, caller: Asking, wait: Wait = None, timeout_s: WaitS = 60.0) -> Response:
        """One session. Reading it is no activity."""
        if wait is not None:
            return answer(await _waited(companion, session_id, timeout_s))
        return answer(companion.show(await companion.get(session_id)))


def _keeping(router: APIRouter, companion: Companion) -> None:
    @router.post("/{session_id}/touch", response_model=TouchView, responses=_GONE | problems(408, 413, 415))
    async def touch(session_id: Id, caller: Asking, activity: Touch | None = None) -> Response:
        """Say that the session is in use. What is no activity by the companion's settings is answered all the same."""
        raise AssertionError("touches are answered in front of this")  # pragma: no cover

    @router.post("/{session_id}/extend", response_model=SessionView, responses=_GONE | problems(408, 413, 415, 429))
    async def extend(session_id: Id, caller: Asking, extension: Extension) -> Response:
        """Keep it until `seconds` from now, never past the end of its lifetime."""
        if extension.deadline == "lifetime":
            if caller.is_of_session:
                raise Forbidden("a touch token does not extend the lifetime")
            session = await companion.extend_lifetime(session_id, extension.seconds, actor=caller.actor)
        else:
            bounded = caller.is_of_session
            session = await companion.extend(session_id, extension.seconds, actor=caller.actor, bounded=bounded)
        return answer(companion.show(session))

    @router.delete("/{session_id}", status_code=202, response_model=SessionView, responses=problems(404))
    async def close_session(
        session_id: Id,
        caller: Asking,
        reason: Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
    ) -> Response:
        """End it. One that has ended already is shown as it is."""
        return answer(companion.show(await companion.close(session_id, actor=caller.actor, reason=reason)), 202)


def _power(router: APIRouter, companion: Companion) -> None:
    @router.post("/{session_id}/pause", status_code=202, response_model=SessionView, responses=_GONE)
    async def pause(session_id: Id, caller: Asking) -> Response:
        """Stop its pod and keep its storage, where the provider can."""
        return answer(companion.show(await companion.pause(session_id, actor=caller.actor)), 202)

    @router.post("/{session_id}/resume", status_code=202, response_model=ResumedView, responses=_GONE)
    async def resume(session_id: Id, caller: Asking) -> Response:
        """Start its pod again. What let its user in before does not any more: here are the tokens that will."""
        session = await companion.resume(session_id, actor=caller.actor)
        return answer(_with_tokens(companion.show(session), companion.handed(session)), 202)


def _doors(router: APIRouter, companion: Companion) -> None:
    @router.post("/{session_id}/rotate", response_model=OpenedView, responses=_GONE)
    async def rotate(session_id: Id, caller: Asking) -> Response:
        """New tokens; what was issued before is refused."""
        opened = await companion.rotate(session_id, actor=caller.actor)
        return answer(_with_tokens(companion.show(opened.session), opened))

    @router.post("/{session_id}/signed-urls", response_model=SignedUrl, responses=_GONE | problems(408, 413, 415))
    async def sign_url(session_id: Id, caller: Asking, wanted: SignedUrlRequest) -> Response:
        """A URL that lets its bearer in, for a session with `auth` `signed_url` that is ready."""
        session = await companion.get(session_id)
        if (wanted.url is None) == (wanted.path is None):
            raise InvalidSpec([Failure("path", "give either path or url")])
        if session.is_gone:
            raise Refusal(410, "the session has ended", slug="session-gone")
        now = companion.ledger.moment().wall
        url = companion.sign_url(session, **wanted.model_dump())
        return answer({"url": url, "expires_at": float(int(now) + wanted.expires_in_s)})

    @router.get(
        "/{session_id}/verifier", response_model=VerifierView, responses=_GONE | {304: {"description": "As before"}}
    )
    async def verifier(
        session_id: Id, caller: Asking, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """What verifies visitors now, with its `ETag`: for the session's guard."""
        session = await companion.get(session_id)
        if session.is_final:
            raise Refusal(410, "the session has ended", slug="session-gone")
        told = companion.verifier(session)
        etag = f'"{digest(told)}"'
        if if_none_match is not None and _matches(if_none_match, etag):
            return Response(status_code=304, headers={"ETag": etag})
        return answer(told, headers={"ETag": etag})


def _may_open(companion: Companion, request: SessionRequest, caller: Caller) -> None:
    """Raises Forbidden. The role of who opens is a scope: the table lets in no other."""
    if caller.role in ("admin", "backend"):
        companion.may_open(request, caller.role)
        return
    raise Forbidden("this key opens no sessions")


async def _opened(
    companion: Companion, under_way: set[tuple[str, str]], request: SessionRequest, caller: Caller, key: str | None
) -> Opening:
    if key is None:
        return await companion.open(request, actor=caller.actor, idempotency=None)
    one = (caller.actor, key)
    if one in under_way:
        raise Refusal(
            503, "the request with this Idempotency-Key is being worked on", slug="under-way", retry_after_s=1
        )
    under_way.add(one)
    try:
        body_hash = digest(request.model_dump(mode="json", exclude_none=True))
        return await companion.open(request, actor=caller.actor, idempotency=(caller.actor, key, body_hash))
    finally:
        under_way.discard(one)


async def _waited(companion: Companion, session_id: str, timeout_s: float) -> dict[str, Any]:
    """The session when it is ready or gone, or as it is when the time is up."""
    return companion.show(await companion.wait(session_id, until="ready", timeout_s=timeout_s))


def _with_tokens(shown: Mapping[str, Any], opened: Opening | None) -> dict[str, Any]:
    if opened is None:
        return dict(shown)
    return {**shown, "token": opened.token, "touch_token": opened.touch_token}


def _matches(asked: str, etag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison with any of the list."""
    return asked.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in asked.split(",")]
