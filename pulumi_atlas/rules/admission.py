"""What was issued for a declared pod, whether it still serves, and whether the pod's environment still verifies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pulumi_atlas.models import Auth, IssuedAccess
from pulumi_atlas.models.issued import GENERATED_ENV

__all__ = ["ISSUED", "auth_found", "auth_told_by", "issued_of", "outputs_of", "serves", "users_env"]

#: Outputs of a pod that were issued for it: minted once, and known to nobody but us.
ISSUED = ("token", "signing_key", "signing_kid")

#: Behind the scheme, in place of an argument: the environment does not verify what was issued.
_CHANGED = " (changed)"


def issued_of(stored: Mapping[str, Any]) -> IssuedAccess | None:
    """What a pod's stored outputs say was issued for it; None when that is nothing, or not whole."""
    scheme = _scheme(stored.get("auth"))
    if scheme is None or not stored.get("token"):
        return None
    if scheme == "signed_url" and not (stored.get("signing_key") and stored.get("signing_kid")):
        return None
    try:
        parts = {name: stored.get(name) for name in ISSUED}
        return IssuedAccess.model_validate(
            {"scheme": scheme, **parts, "generation": stored.get("auth_generation") or 0}
        )
    except ValueError:
        return None


def outputs_of(issued: IssuedAccess) -> dict[str, str]:
    """The outputs that stand for what was issued."""
    return {name: value for name in ISSUED if (value := getattr(issued, name)) is not None}


def serves(issued: IssuedAccess | None, auth: Auth, generation: int) -> bool:
    """Whether what was issued is what is asked for; else it is minted anew."""
    return issued is not None and (issued.scheme, issued.generation) == (auth, generation)


def users_env(shown: Mapping[str, str], stored: Mapping[str, Any]) -> dict[str, str]:
    """A pod's environment as a provider shows it, without what was generated: that is never an argument."""
    hidden = _generated(shown, stored)
    return {name: value for name, value in shown.items() if name not in hidden}


def auth_found(shown: Mapping[str, str], stored: Mapping[str, Any]) -> str | None:
    """`auth` as it is in truth: as it was set when the environment verifies what was issued; else a word that differs."""
    scheme, issued, found = _scheme(stored.get("auth")), issued_of(stored), _generated(shown, stored)
    if scheme is None:
        return f"unknown{_CHANGED}" if found else None
    return scheme if issued is not None and found == issued.environment() else scheme + _CHANGED


def auth_told_by(env: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a guarded pod that its environment alone tells: `auth`, and `auth_generation` unless it is 0.

    Nothing for a pod that is not guarded; one that a user gave a key of ExAtlas's name is not guarded by that.
    """
    if "ATLAS_TOKEN_HASHES" not in env:
        return {}
    auth: Auth = "signed_url" if "ATLAS_URL_KEYS" in env else "bearer"
    if "ATLAS_PRESHARED_KEY" in env:
        auth = "preshared"
    generation = env.get("ATLAS_GENERATION", "0")
    return {"auth": auth} | ({"auth_generation": int(generation)} if generation.isdecimal() and int(generation) else {})


def _generated(shown: Mapping[str, str], stored: Mapping[str, Any]) -> dict[str, str]:
    """Of the environment, what only `auth` sets. Without `auth`, a name that the user set is the user's."""
    asked = stored.get("env") if _scheme(stored.get("auth")) is None else None
    return {name: value for name, value in shown.items() if name in GENERATED_ENV and name not in (asked or {})}


def _scheme(auth: Any) -> Auth | None:
    word = auth.removesuffix(_CHANGED) if isinstance(auth, str) else None
    return next((scheme for scheme in get_args(Auth) if scheme == word), None)
