"""The guard: who has a token or a signed URL comes in, and the application sees nothing of either.

    from atlas_session.guard import Guard

    app = Guard(app)   # ASGI; settings from ATLAS_TOKEN_HASHES, ATLAS_URL_KEYS, … as SPECIFICATION.md section 8 lists

Behind a server that rewrites addresses itself, let one of the two do it: start uvicorn with ``--no-proxy-headers`` when
ATLAS_TRUSTED_PROXIES is set. A server's log of level DEBUG or TRACE may show requests before any application sees them.
"""

from __future__ import annotations

from atlas_session.guard._asgi import Guard
from atlas_session.guard._settings import GuardConfigError, GuardSettings

__all__ = ["Guard", "GuardConfigError", "GuardSettings"]
