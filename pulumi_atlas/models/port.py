"""A port that a pod serves."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import model_serializer, model_validator

from pulumi_atlas.models._base import Frozen

__all__ = ["Port", "Protocol"]

Protocol = Literal["http", "tcp"]

_SPELLING = re.compile(r"(\d+)(?:/(\w+))?")


class Port(Frozen):
    """A port inside the pod: 1 to 65535, and `http` (the default) or `tcp`. Written `8888/http`, `22/tcp` or `8888`."""

    number: int
    protocol: Protocol = "http"

    @model_validator(mode="before")
    @classmethod
    def _from_spelling(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a port such as '8888/http', not true or false")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int):
            return {"number": value}
        if isinstance(value, str):
            found = _SPELLING.fullmatch(value.strip())
            if not found:
                raise ValueError(f"{value!r} is not a port; write it as '8888/http' or '22/tcp'")
            return {"number": int(found[1]), "protocol": (found[2] or "http").lower()}
        return value

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if not 1 <= self.number <= 65535:
            raise ValueError(f"port {self.number} is out of range; ports go from 1 to 65535")
        return self

    @model_serializer
    def _as_spelling(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"
