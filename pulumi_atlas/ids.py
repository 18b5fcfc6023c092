"""Names of things: ids, births and owners. Strings with a meaning get a type of their own."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Literal, NewType

__all__ = [
    "Birth",
    "EndpointId",
    "JobId",
    "Owner",
    "OwnerKind",
    "PodId",
    "SessionId",
    "StackId",
    "Tag",
    "VolumeId",
    "new_birth",
    "new_stack_id",
]

PodId = NewType("PodId", str)
VolumeId = NewType("VolumeId", str)
EndpointId = NewType("EndpointId", str)
JobId = NewType("JobId", str)
SessionId = NewType("SessionId", str)
StackId = NewType("StackId", str)

#: A random id minted for one creation of one thing; 20 lower-case hexadecimal digits (80 bits).
Birth = NewType("Birth", str)

OwnerKind = Literal["stack", "deployment", "manual"]

_BIRTH = re.compile(r"[0-9a-f]{20}")


def new_birth() -> Birth:
    """A fresh birth: 80 random bits, so that two never meet."""
    return Birth(secrets.token_hex(10))


def new_stack_id() -> StackId:
    """A fresh stack id: made once per stack and kept in its state."""
    return StackId(secrets.token_hex(8))


@dataclass(frozen=True)
class Owner:
    """Who may destroy a thing.

    `id` is the stack's or deployment's random id (for `manual`: the user's name on this machine); `path` is the type and
    parent-qualified name below it, such as ``atlas:Pod::web/trainer``.
    """

    kind: OwnerKind
    id: str
    path: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError(f"an owner of kind {self.kind} needs an id: without one it could not be read back")

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" + (f":{self.path}" if self.path else "")

    @classmethod
    def parse(cls, text: str) -> Owner:
        """The inverse of `str(owner)`. Raises ValueError when the text is no owner."""
        kind, _, rest = text.partition(":")
        ident, _, path = rest.partition(":")
        if kind not in ("stack", "deployment", "manual") or not ident:
            raise ValueError(f"not an owner: {text!r}")
        return cls(kind, ident, path)  # type: ignore[arg-type]

    def same_thing(self, other: Owner) -> bool:
        """Whether both name the same declared thing (kind, id and path)."""
        return self == other


@dataclass(frozen=True)
class Tag:
    """What a created thing carries so that it can be found again and told from everybody else's: birth and owner.

    Holds no user data: it may end up in a machine's name, which strangers can read.
    """

    birth: Birth
    owner: Owner

    def __post_init__(self) -> None:
        if not _BIRTH.fullmatch(self.birth):
            raise ValueError(f"not a birth: {self.birth!r}")
