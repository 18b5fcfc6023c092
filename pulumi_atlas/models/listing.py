"""A list with its honesty: whether it is known to be complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Listing", "Things"]

T = TypeVar("T")


@dataclass(frozen=True)
class Listing(Generic[T]):
    """All things of one kind in one account. Only a `complete` listing may prove that something is gone."""

    items: tuple[T, ...]
    account: str
    complete: bool = True

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Things(list[T]):
    """A plain list of what was found, that also says whether it is known to be `complete`."""

    def __init__(self, items: Iterable[T] = (), *, complete: bool = True) -> None:
        super().__init__(items)
        self.complete = complete
