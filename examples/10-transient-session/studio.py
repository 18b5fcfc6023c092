"""What runs in the pod: says backwards what it is told. `Guard` lets in who holds the session's token."""

import itertools
import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from atlas_session.guard import Guard

count = itertools.count(1)


async def say(request: Request) -> JSONResponse:
    words = (await request.body())[:1000].decode(errors="replace")
    return JSONResponse({"answer": words[::-1], "count": next(count), "pid": os.getpid()})


studio = Starlette(routes=[Route("/say", say, methods=["POST"])])
uvicorn.run(Guard(studio), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
