"""What a store of sessions must do. The docstrings are the semantics; one conformance suite tests each implementation.

All methods are async and may be called from one event loop. Every failure of the storage itself (full, locked, lost) is
`StoreUnavailable`: whoever gets it may not take anything for done, and kills nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pulumi_atlas.errors import AtlasError, Conflict
from pulumi_atlas.models.session import Session, SessionEvent, SessionState
from pulumi_atlas.rules.sessions.gaps import Gap

__all__ = [
    "AccessKey",
    "Answered",
    "BirthNote",
    "BirthState",
    "Custody",
    "Delivery",
    "Scope",
    "SessionPage",
    "Stale",
    "Store",
    "StoreBusy",
    "StoreUnavailable",
    "TouchRow",
]

Scope = Literal["admin", "backend", "read", "metrics"]

#: `open`: a request that costs money may have been sent. `held`: its pod is a session's. `dead`: its session no longer wants
#: it, so a pod of this birth that shows up may be swept. `gone`: it is proven that there is no such pod.
BirthState = Literal["open", "held", "dead", "gone"]


class StoreUnavailable(AtlasError):
    """The store cannot be read or written now. Nothing was changed."""

    kind = "provider"


class StoreBusy(Conflict):
    """Another companion has this store."""


class Stale(Exception):
    """The row has another version than the change was decided on. `current`: as it is now, None when there is none."""

    def __init__(self, current: Session | None) -> None:
        super().__init__(f"the session has version {current.version if current else None} now")
        self.current = current


@dataclass(frozen=True, slots=True)
class TouchRow:
    """Activity of one session that is to be made durable: the newest stands, by maximum; counts are added."""

    session_id: str
    active_at: float
    source: str
    touches: int
    keep_until: float | None = None


@dataclass(frozen=True, slots=True)
class BirthNote:
    """The journal's line of one creation, written before the request that costs money."""

    birth: str
    session_id: str
    provider: str
    account: str | None
    identity: str | None
    state: BirthState
    written_at: float
    pod_id: str | None = None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key of the API: only its hash is kept (SHA-256 of its text, hex). Times are unix seconds."""

    id: str
    hash: str
    scope: Scope
    name: str
    created_at: float
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered under an idempotency key: by which API key, to which body (SHA-256, hex), with which session."""

    caller: str
    key: str
    body_hash: str
    session_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook. `attempt` counts those that were made; `due_at` is when the next one is."""

    event: SessionEvent
    webhook: str
    attempt: int
    due_at: float
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some sessions in order of creation, and the cursor of the next page; None behind the last."""

    sessions: tuple[Session, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Custody:
    """Whose store this is. `deployment_id` is made once and random; pods carry it, names do not matter.

    `frozen`: why every kill is frozen ("" when none is): it was restored from a backup, or machine, path or inode are others
    than those recorded, until an operator confirms it. `alive_at`: when a companion last wrote into it, unix seconds. `gaps`:
    time before that which counts as nobody's idleness. `stopped`: whether that was at its orderly end, so that no activity
    is missing.
    """

    deployment_id: str
    name: str
    created_at: float
    alive_at: float | None
    frozen: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    stopped: bool = False


class Store(Protocol):
    """Sessions, their events and what belongs to them, durably."""

    async def open(self, *, name: str, now: float) -> Custody:
        """Take the store, making or migrating it. `name`: the deployment's. Raises StoreBusy when another companion has it,
        ConfigError when it is of a newer version or of another deployment, StoreUnavailable."""
        ...

    async def aclose(self) -> None:
        """Give it back. Safe to repeat."""
        ...

    async def custody(self) -> Custody:
        """As it is now: an operator may have confirmed it meanwhile."""
        ...

    async def confirm(self, *, now: float) -> Custody:
        """An operator says that this store is the right one, here: kills are free again."""
        ...

    # -- sessions

    async def add(
        self, session: Session, events: Sequence[SessionEvent], answered: Answered | None = None
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        """Insert a session with its first events (and what was answered), in one transaction. The events come back numbered.

        Raises Conflict when the id, or the caller's idempotency key, is there already.
        """
        ...

    async def change(
        self,
        session_id: str,
        version: int,
        changes: Mapping[str, Any],
        events: Sequence[SessionEvent] = (),
        births: Sequence[BirthNote] = (),
    ) -> tuple[Session, tuple[SessionEvent, ...]]:
        """One guarded write: fields of the row, its events, and notes of births (inserted or replaced), all or nothing.

        The row's version must be `version`, and is one higher afterwards. `changes` may not name `id` or `version`.
        Raises Stale otherwise.
        """
        ...

    async def get(self, session_id: str) -> Session | None:
        """The session, None when there is none."""
        ...

    def live(self) -> AsyncIterator[Session]:
        """All sessions that are not final, in pieces: for the start."""
        ...

    async def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[SessionState] | None = None,
        template: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> SessionPage:
        """Sessions that match. Raises InvalidSpec for a cursor that this store did not give."""
        ...

    async def spent(self, owner: str, *, since: float) -> float:
        """Settled money of the owner's *final* sessions that ended after `since`."""
        ...

    async def flush(
        self, touches: Sequence[TouchRow], *, now: float, gaps: Sequence[Gap] | None = None, stopping: bool = False
    ) -> None:
        """Make activity durable: `active_at` and `keep_until` by maximum, counts added; versions stay. Notes `alive_at`, and
        in the same transaction the gaps in place of those before (None: they stay) and whether this is the orderly end."""
        ...

    # -- the journal

    async def births(self, states: Collection[BirthState] | None = None) -> Sequence[BirthNote]:
        """Notes of creations, oldest first."""
        ...

    async def note_birth(self, note: BirthNote) -> None:
        """Insert or replace one note, on its own."""
        ...

    # -- events

    async def events(self, *, after: int, session_id: str | None = None, limit: int = 500) -> Sequence[SessionEvent]:
        """Events with a greater number, in order."""
        ...

    async def event_range(self) -> tuple[int, int]:
        """The oldest number that is kept and the newest that was given; (1, 0) before the first."""
        ...

    async def note(self, events: Sequence[SessionEvent]) -> tuple[SessionEvent, ...]:
        """Events that belong to no change of a session, numbered."""
        ...

    async def prune(self, *, events_before: float, sessions_before: float, answers_before: float) -> int:
        """Forget events, final sessions and idempotency answers older than that. How many rows went.

        Events go from the oldest on, up to one that is young or not delivered yet, so that those kept have no holes. A final
        session is kept while one of its births is `open` or `held`; births that are `gone` go with their session.
        """
        ...

    # -- webhooks: an outbox filled by `add`, `change` and `note` for the webhooks named last

    async def set_webhooks(self, names: Collection[str]) -> None:
        """From now on, events are to be delivered to these; deliveries to others are dropped."""
        ...

    async def due(self, now: float, *, webhook: str | None = None, limit: int = 50) -> Sequence[Delivery]:
        """Deliveries that are due, to this webhook or to any, oldest first."""
        ...

    async def next_due(self, *, webhook: str | None = None) -> float | None:
        """When the next delivery to it is due, unix seconds; None when there is none."""
        ...

    async def delivered(self, event_number: int, webhook: str) -> None:
        """It arrived, or it was given up: it is dropped."""
        ...

    async def postponed(self, event_number: int, webhook: str, *, due_at: float, error: str) -> None:
        """It did not arrive: one attempt more, and when to try again."""
        ...

    # -- keys and answers

    async def add_key(self, key: AccessKey) -> None:
        """Insert a key."""
        ...

    async def keys(self) -> Sequence[AccessKey]:
        """All keys, revoked ones too, oldest first."""
        ...

    async def revoke_key(self, key_id: str, *, now: float) -> bool:
        """Whether there was such a key that was not revoked."""
        ...

    async def answered(self, caller: str, key: str) -> Answered | None:
        """What was answered to that caller under that idempotency key."""
        ...
