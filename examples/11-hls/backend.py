"""The application: opens a session for each listener, and has the companion sign the URL of their playlist."""

import re
import secrets
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from atlas_session import AsyncCompanionClient, CompanionError

companion = AsyncCompanionClient()  # ATLAS_COMPANION_URL, ATLAS_COMPANION_KEY


async def play(request: Request) -> Response:
    """The signed playlist of the listener's session, which is opened when there is none."""
    listener, number = who(request)
    try:
        session = await opened(listener, number)
        if session.is_gone:
            number += 1
            session = await opened(listener, number)
        url = await companion.sign_url(session.id, "/hls/melody.m3u8", form="path", expires_in_s=600)
    except CompanionError as error:
        print(error, file=sys.stderr)
        return JSONResponse({"error": "There is no music just now."}, 503)
    answer = JSONResponse({"playlist": url}, headers={"Cache-Control": "no-store"})
    answer.set_cookie("listen", f"{listener}.{number}", httponly=True, samesite="strict", max_age=7 * 86_400)
    return answer


async def stop(request: Request) -> Response:
    """Ends the listener's session. Its URLs are void from then on, wherever they have got to."""
    listener, _ = who(request)
    async for session in companion.list_sessions(owner=listener):
        if not session.is_gone:
            await companion.close_session(session.id)
    return JSONResponse({})


async def opened(listener: str, number: int):
    key = f"{listener}.{number}"
    return await companion.open_session(template="player", owner=listener, idempotency_key=key, wait="ready")


def who(request: Request) -> tuple[str, int]:
    """In an application with a login: its user, and a number kept with the user."""
    found = re.fullmatch(r"([A-Za-z0-9_-]{22})\.(\d{1,6})", request.cookies.get("listen", ""))
    return (found[1], int(found[2])) if found else (secrets.token_urlsafe(16), 0)


def from_our_page(act):
    """JSON is what a page of another origin cannot send."""

    async def checked(request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":
            return JSONResponse({"error": "JSON only"}, 415)
        return await act(request)

    return checked


app = Starlette(
    routes=[
        Route("/play", from_our_page(play), methods=["POST"]),
        Route("/stop", from_our_page(stop), methods=["POST"]),
        Mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True)),
    ],
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
)
if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
