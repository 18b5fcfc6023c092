"""A way into one pod: what was minted for it, and what the pod is told so that it can verify that."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from atlas_session.tokens import hash_token
from pulumi_atlas.models._base import Frozen, WholeNumber

__all__ = ["GENERATED_ENV", "Auth", "IssuedAccess"]

#: `bearer`: a token. `signed_url`: a token, and a key that signs URLs. `preshared`: a token that the pod holds in clear.
Auth = Literal["bearer", "signed_url", "preshared"]

#: What a pod's environment holds because of `auth`: nobody else sets these then.
GENERATED_ENV = frozenset(
    {"ATLAS_TOKEN_HASHES", "ATLAS_URL_KEYS", "ATLAS_GENERATION", "ATLAS_PRESHARED_KEY", "ATLAS_GUARD_KEY"}
)


class IssuedAccess(Frozen):
    """What lets visitors into one pod.

    `token` may be handed to the user of the pod, a browser too. `signing_key` (base64url of 32 bytes, only with `signed_url`)
    is for `atlas_session.sign_url` on a server, never for a browser: it signs for every address of the pod.
    """

    scheme: Auth
    token: str = Field(repr=False)
    generation: Annotated[WholeNumber, Field(ge=0)] = 0
    signing_key: str | None = Field(default=None, repr=False)
    signing_kid: str | None = None

    @property
    def hash(self) -> str:
        """What verifies the token: SHA-256 of its text, lower-case hex. No secret."""
        return hash_token(self.token)

    @property
    def header(self) -> dict[str, str]:
        """The header of a request that presents the token."""
        return {"Authorization": f"Bearer {self.token}"}

    def environment(self) -> dict[str, str]:
        """What the pod is told: only what verifies, but for `preshared`, which puts the token itself there."""
        told = {"ATLAS_TOKEN_HASHES": self.hash, "ATLAS_GENERATION": str(self.generation)}
        if self.signing_key is not None:
            told["ATLAS_URL_KEYS"] = f"{self.signing_kid}:{self.signing_key}"
        if self.scheme == "preshared":
            told["ATLAS_PRESHARED_KEY"] = self.token
        return told
