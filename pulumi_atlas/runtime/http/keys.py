"""API keys: made, listed, revoked. A key is shown once, when it is made."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from atlas_session.tokens import mint_token
from pulumi_atlas.errors import NotFound
from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.answers import answer, caller_of, problems
from pulumi_atlas.runtime.http.caller import Caller
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.runtime.http.shapes import KeyList, KeyMade, KeyRequest, KeyView
from pulumi_atlas.runtime.store.contract import AccessKey, Scope

__all__ = ["minted", "routes"]

Asking = Annotated[Caller, Depends(caller_of)]
KeyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def minted(scope: Scope, name: str, now: float) -> tuple[AccessKey, str]:
    """A new key, for the store, and its text, for whoever asked. `now`: unix seconds."""
    token = mint_token()
    return AccessKey(f"k-{secrets.token_hex(6)}", token.hash, scope, name, now), token.token


def routes(companion: Companion, known: KnownKeys) -> APIRouter:
    """The router, for this companion."""
    router = APIRouter(prefix="/v1/keys", tags=["keys"])

    @router.get("", response_model=KeyList, responses=problems())
    async def list_keys(caller: Asking) -> Response:
        """All keys, revoked ones too. Not the keys themselves: nobody knows them but who was given one."""
        return answer({"keys": [_shown(key) for key in await companion.store.keys()]})

    @router.post("", status_code=201, response_model=KeyMade, responses=problems(408, 413, 415))
    async def make_key(caller: Asking, wanted: KeyRequest) -> Response:
        """Make a key."""
        key, text = minted(wanted.scope, wanted.name, companion.ledger.moment().wall)
        await companion.store.add_key(key)
        known.forget()
        return answer({**_shown(key), "key": text}, 201)

    @router.delete("/{key_id}", response_model=KeyView, responses=problems(404))
    async def revoke_key(key_id: KeyId, caller: Asking) -> Response:
        """Revoke a key, at once. One that is revoked already stays so."""
        await companion.store.revoke_key(key_id, now=companion.ledger.moment().wall)
        known.forget()
        found = next((key for key in await companion.store.keys() if key.id == key_id), None)
        if found is None:
            raise NotFound(f"there is no key {key_id}")
        return answer(_shown(found))

    return router


def _shown(key: AccessKey) -> dict[str, object]:
    return {
        "id": key.id,
        "scope": key.scope,
        "name": key.name,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
