"""`python -m benchmarks.parts.bare BYTES`: a handler that answers 200 with a body of that size, on the companion's server.

uvicorn with the same parser, loop and settings, but without anything of ours. It prints its port when it listens.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn

from pulumi_atlas.runtime.serve import listening

__all__ = ["main"]


def main(size: int) -> None:
    """Serve until it is told to stop."""
    import uvloop

    start = {"type": "http.response.start", "status": 200,
             "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]}  # fmt: skip
    body = {"type": "http.response.body", "body": b"x" * size}

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    config = uvicorn.Config(
        handler, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=30, backlog=2048,
    )  # fmt: skip
    with listening("127.0.0.1", 0) as door, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(door.getsockname()[1], flush=True)
        runner.run(uvicorn.Server(config).serve(sockets=[door]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
