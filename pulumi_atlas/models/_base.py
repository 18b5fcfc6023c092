"""The base of all values: frozen, closed, and forgiving only about number spelling (the engine turns ints to floats)."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Frozen", "WholeNumber"]


class Frozen(BaseModel):
    """A frozen value. Unknown fields are errors, so that a misspelt one is reported; no error repeats what was given, since
    that may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", hide_input_in_errors=True)


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")
    if isinstance(value, str):
        raise ValueError("must be a whole number, not text")
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


#: An int that also accepts `3.0`, because the engine's wire knows only floats; never text, never a bool.
WholeNumber = Annotated[int, BeforeValidator(_whole)]
