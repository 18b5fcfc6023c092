"""A page and its pictures. `Guard` reads from the environment who is let in; the program itself never sees a credential."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atlas_session.guard import Guard


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("An album with two pictures: /pictures/1 and /pictures/2\n")


async def picture(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"(picture {request.path_params['number']})\n")


album = Starlette(routes=[Route("/", page), Route("/pictures/{number:int}", picture)])
uvicorn.run(Guard(album), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
