"""The guard: who has a token or a signed URL comes in, and the application sees nothing of either.

    from atlas_session.guard import Guard

    app = Guard(app)      # ASGI; `WsgiGuard(app)` for WSGI

Settings come from ATLAS_TOKEN_HASHES, ATLAS_URL_KEYS and the others that SPECIFICATION.md lists in section 8.

Behind a server that rewrites addresses itself, let one of the two do it: start uvicorn with ``--no-proxy-headers`` when
ATLAS_TRUSTED_PROXIES is set. A server's log of level DEBUG or TRACE may show requests before any application sees them.
"""

from __future__ import annotations

from atlas_session.guard._asgi import Guard
from atlas_session.guard._settings import GuardConfigError, GuardSettings
from atlas_session.guard._wsgi import WsgiGuard

__all__ = ["Guard", "GuardConfigError", "GuardSettings", "WsgiGuard"]
