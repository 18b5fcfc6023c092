"""The application: opens a session for each visitor and hands their page the way in. What they do there, it never sees."""

import os
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


async def session(request: Request) -> Response:
    """The visitor's session: a reload and a second tab get the same one. `again`: another one, when that has ended."""
    if request.headers.get("content-type") != "application/json":  # what a page of another origin cannot send
        return JSONResponse({"error": "JSON only"}, 415)
    visitor, number = who(request)
    again = (await request.json()).get("again") is True
    try:
        found = await opened(visitor, number)
        if found.is_gone and again:
            number += 1
            found = await opened(visitor, number)
    except CompanionError as error:
        print(error, file=sys.stderr)
        return JSONResponse({"error": "No machine can be had just now."}, 503)
    told = {
        "id": found.id,
        "token": found.token,  # for the pod
        "touch_token": found.touch_token,  # for the companion, and for this session only
        "companion": os.environ["ATLAS_COMPANION_URL"],
    }
    answer = JSONResponse(told, headers={"Cache-Control": "no-store"})
    answer.set_cookie("visit", f"{visitor}.{number}", httponly=True, samesite="strict", max_age=7 * 86_400)
    return answer


async def opened(visitor: str, number: int):
    """The visitor's session of that number: opened now, or the very one that was opened before."""
    key = f"{visitor}.{number}"
    return await companion.open_session(template="studio", owner=visitor, idempotency_key=key, wait="ready")


def who(request: Request) -> tuple[str, int]:
    """In an application with a login: its user, and a number kept with the user."""
    found = re.fullmatch(r"([A-Za-z0-9_-]{22})\.(\d{1,6})", request.cookies.get("visit", ""))
    return (found[1], int(found[2])) if found else (secrets.token_urlsafe(16), 0)


app = Starlette(
    routes=[
        Route("/session", session, methods=["POST"]),
        Mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True)),
    ],
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
)
if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
