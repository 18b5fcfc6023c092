"""Which settings there are at a place of the file, and which of them was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["did_you_mean"]


def did_you_mean(model: type[BaseModel], steps: Sequence[int | str]) -> str:
    """A hint for the key at the end of `steps`, which the model at that place does not know; empty when none can help."""
    owner = _owner(model, steps[:-1])
    if owner is None:
        return ""
    near = difflib.get_close_matches(str(steps[-1]), owner.model_fields, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(owner.model_fields))}"


def _owner(model: type[BaseModel], steps: Sequence[int | str]) -> type[BaseModel] | None:
    here: Any = model
    for step in steps:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(step))
            here = _plain(field.annotation) if field else None
        elif get_origin(here) in (dict, Mapping):
            here = _plain(get_args(here)[1])
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """The type without `None` and without annotations; of several possible ones the first."""
    while get_origin(annotation) in (Union, UnionType) or hasattr(annotation, "__metadata__"):
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        else:
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation
