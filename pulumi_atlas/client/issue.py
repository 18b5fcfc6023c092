"""Minting what lets visitors into a pod."""

from __future__ import annotations

import base64
import secrets

from atlas_session.tokens import mint_token
from pulumi_atlas.models import Auth, IssuedAccess

__all__ = ["issue"]


def issue(auth: Auth, *, generation: int = 0) -> IssuedAccess:
    """A new token, and with `signed_url` a new key with its id. Random: nothing that was issued before is related to it."""
    token = mint_token().token
    if auth != "signed_url":
        return IssuedAccess(scheme=auth, token=token, generation=generation)
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    kid = secrets.token_hex(4)
    return IssuedAccess(scheme=auth, token=token, generation=generation, signing_key=key, signing_kid=kid)
