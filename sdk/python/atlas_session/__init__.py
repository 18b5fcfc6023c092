"""Signed access to rented machines: tokens, signed URLs, the guard, and the companion's client. Standard library only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas_session.companion import AsyncCompanionClient as AsyncCompanionClient
    from atlas_session.companion import AsyncHeartbeat as AsyncHeartbeat
    from atlas_session.companion import CompanionClient as CompanionClient
    from atlas_session.companion import CompanionError as CompanionError
    from atlas_session.companion import Event as Event
    from atlas_session.companion import Heartbeat as Heartbeat
    from atlas_session.companion import Session as Session
    from atlas_session.errors import AccessDenied as AccessDenied
    from atlas_session.errors import CannotSign as CannotSign
    from atlas_session.grants import Grant as Grant
    from atlas_session.guard import Guard as Guard
    from atlas_session.guard import WsgiGuard as WsgiGuard
    from atlas_session.keys import KeyRing as KeyRing
    from atlas_session.keys import MasterKey as MasterKey
    from atlas_session.keys import derive_key as derive_key
    from atlas_session.tokens import MintedToken as MintedToken
    from atlas_session.tokens import mint_token as mint_token
    from atlas_session.tokens import verify_token as verify_token
    from atlas_session.urls import sign_path as sign_path
    from atlas_session.urls import sign_url as sign_url
    from atlas_session.urls import verify_path as verify_path
    from atlas_session.urls import verify_url as verify_url

__version__ = "0.1.0"

#: Where each name comes from; it is loaded when it is first asked for.
_HOMES = {
    "AccessDenied": "errors",
    "AsyncCompanionClient": "companion",
    "AsyncHeartbeat": "companion",
    "CannotSign": "errors",
    "CompanionClient": "companion",
    "CompanionError": "companion",
    "Event": "companion",
    "Grant": "grants",
    "Guard": "guard",
    "Heartbeat": "companion",
    "KeyRing": "keys",
    "MasterKey": "keys",
    "MintedToken": "tokens",
    "Session": "companion",
    "WsgiGuard": "guard",
    "derive_key": "keys",
    "mint_token": "tokens",
    "sign_path": "urls",
    "sign_url": "urls",
    "verify_path": "urls",
    "verify_token": "tokens",
    "verify_url": "urls",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'atlas_session' has no attribute {name!r}")
    value = getattr(import_module(f"atlas_session.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
