"""A mock world as a value: rows by table, and the settings and faults that a test has put there.

Rows are plain JSON and are never changed in place: `put` replaces one. An operation decides first and puts last, so that
one that raises has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pulumi_atlas.errors import NotFound

__all__ = ["PROVIDER", "TABLES", "Row", "Settings", "State", "Table"]

PROVIDER = "mock"

Row = dict[str, Any]
Table = Literal["pods", "volumes", "endpoints", "jobs", "logs"]

TABLES: tuple[Table, ...] = ("pods", "volumes", "endpoints", "jobs", "logs")

_NOUNS: dict[Table, str] = {"pods": "pod", "volumes": "volume", "endpoints": "endpoint", "jobs": "job", "logs": "log"}
_LETTERS: dict[Table, str] = {"pods": "p", "volumes": "v", "endpoints": "e", "jobs": "j", "logs": "l"}


@dataclass
class Settings:
    """What a test has told the world. Times are in seconds of the world's clock; `capacity` counts cards, `cpu` pods."""

    provision_s: float | None = None
    terminate_lag_s: float = 0.0
    listing_lag_s: float = 0.0
    capacity: dict[str, int] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    jobs_advance: bool = True
    account: str | None = None
    listing_complete: bool = True
    hidden: list[str] = field(default_factory=list)
    frozen_at: float | None = None
    ahead_s: float = 0.0


@dataclass
class State:
    """The whole world. `changed` says that there is something to save; `views` keeps what rows were shown as."""

    seed: str
    counter: int = 0
    settings: Settings = field(default_factory=Settings)
    faults: list[Row] = field(default_factory=list)
    tables: dict[Table, dict[str, Row]] = field(default_factory=lambda: {table: {} for table in TABLES})
    changed: bool = False
    views: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def now(self, wall: float) -> float:
        """The world's time in seconds since the epoch, when the machine's clock says `wall`."""
        frozen = self.settings.frozen_at
        return (wall if frozen is None else frozen) + self.settings.ahead_s

    def new_id(self, table: Table) -> str:
        """The next id: made of the world's seed and a counter, so that it is unique in it and the same in every run."""
        self.counter += 1
        self.changed = True
        return f"mock-{self.seed}-{_LETTERS[table]}{self.counter}"

    def put(self, table: Table, ident: str, row: Row) -> Row:
        self.tables[table][ident] = row
        self.changed = True
        return row

    def drop(self, table: Table, ident: str) -> None:
        if self.tables[table].pop(ident, None) is not None:
            self.views.pop(ident, None)
            self.changed = True

    def rows(self, table: Table, account: str | None = None) -> Iterator[tuple[str, Row]]:
        """The rows of one account, or of all, in the order in which they were made."""
        for ident, row in self.tables[table].items():
            if account is None or row["account"] == account:
                yield ident, row

    def row(self, table: Table, ident: str, account: str | None = None) -> Row:
        """One row. Raises NotFound, for another account's too."""
        row = self.tables[table].get(ident)
        if row is None or (account is not None and row["account"] != account):
            raise NotFound(
                f"there is no {_NOUNS[table]} '{ident}'",
                provider=PROVIDER,
                hint="check the id and the account; a mock world without ATLAS_MOCK_FILE ends with its process",
            )
        return row
