"""Who asks, and may they? Only this decides, by the table in `roles`."""

from __future__ import annotations

from pulumi_atlas.runtime.companion import Companion
from pulumi_atlas.runtime.http.caller import Caller, bearer_hash, caller_of_session
from pulumi_atlas.runtime.http.head import Head
from pulumi_atlas.runtime.http.known_keys import KnownKeys
from pulumi_atlas.runtime.http.problem import Refusal
from pulumi_atlas.runtime.http.roles import Route
from pulumi_atlas.runtime.store.contract import StoreUnavailable

__all__ = ["Doorkeeper"]

_CHALLENGE = (b"www-authenticate", b"Bearer")


class Doorkeeper:
    """Knows API keys by the store, and a session's own tokens by the session that is asked about."""

    def __init__(self, companion: Companion, keys: KnownKeys) -> None:
        self._companion, self._keys = companion, keys

    async def caller(self, head: Head, route: Route, session_id: str | None) -> Caller | None:
        """Who asks, None where everybody may. Raises Refusal: 401 for nobody that is known, 403 for somebody who may not.

        Neither tells whether there is such a session: a token of another session is unknown, as if there were none.
        """
        if not route.roles:
            return None
        presented = bearer_hash(head.get(b"authorization") or b"")
        found = None if presented is None else await self._known(presented, session_id)
        if found is None:
            raise Refusal(401, "no such key", slug="unknown-key", headers=[_CHALLENGE])
        if found.role not in route.roles:
            raise Refusal(403, f"this is not for a key of the kind {found.role}", slug="not-for-this")
        return found

    async def still(self, caller: Caller) -> bool:
        """Whether that key or token is still one, for whoever was let in a while ago."""
        try:
            found = await self._known(caller.hash, caller.ident if caller.is_of_session else None)
        except StoreUnavailable:
            return True
        return found is not None and found.role == caller.role

    async def _known(self, presented: str, session_id: str | None) -> Caller | None:
        live = None if session_id is None else self._companion.ledger.live.get(session_id)
        found = None if live is None else caller_of_session(live, presented)
        found = found or self._keys.at_hand(presented)
        if found is not None or session_id is None:
            return found or await self._keys.find(presented)
        # The same read for every wrong key, so that its duration does not tell which sessions there are.
        failure: StoreUnavailable | None = None
        try:
            row = await self._companion.store.get(session_id)
            found = None if row is None else caller_of_session(row, presented)
        except StoreUnavailable as error:
            failure = error
        found = found or await self._keys.find(presented)
        if found is None and failure is not None:
            raise failure
        return found
