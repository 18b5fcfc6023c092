"""Applications that run in a process of their own: they stream, and tell how much memory their process has used."""

from __future__ import annotations

import resource
import sys
from typing import Any

from atlas_session.guard import Guard, WsgiGuard

MIB = 1024 * 1024
PIECES = 100


def peak_mib() -> str:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return str(used // (MIB if sys.platform == "darwin" else 1024))


class Produced:
    """How many pieces the last download has made."""

    pieces = 0


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    total = 0
    while True:
        message = await receive()
        total += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] == "/download":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        Produced.pieces = 0
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
            Produced.pieces += 1
        await send({"type": "http.response.body"})
        return
    body = _told(scope["path"], total)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _told(path: str, received: int) -> bytes:
    told = {"/peak": peak_mib(), "/produced": str(Produced.pieces), "/upload": str(received)}
    return told.get(path, "").encode()


def _wsgi(environ: Any, start_response: Any) -> Any:
    headers = [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/fails":
        raise LookupError("the program's own")
    if environ["PATH_INFO"] == "/fails/late":
        start_response("200 OK", headers)
        return _failing()
    if environ["PATH_INFO"] == "/download":
        start_response("200 OK", headers)
        return _pieces()
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    body = _told(environ["PATH_INFO"], total)
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]


def _failing() -> Any:
    yield b"a piece"
    raise LookupError("the program's own")


def _pieces() -> Any:
    Produced.pieces = 0
    for _ in range(PIECES):
        Produced.pieces += 1
        yield bytes(MIB)


def asgi() -> Guard:
    return Guard(_asgi)


def wsgi() -> WsgiGuard:
    return WsgiGuard(_wsgi)
