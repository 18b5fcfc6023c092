"""Opening a session: everything is checked before anything is written, and nothing is rented here."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pulumi_atlas.client.core import Core
from pulumi_atlas.client.validation import check_pod
from pulumi_atlas.errors import AtlasError, ConfigError, Conflict, Failure, InvalidSpec
from pulumi_atlas.models.session import Session, SessionRequest, SessionSpec
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import ABILITIES, Provider
from pulumi_atlas.rules import validation
from pulumi_atlas.rules.sessions import opening
from pulumi_atlas.rules.sessions.lease import cost_at
from pulumi_atlas.runtime.access import KeyRingFile, Secrets, seal, ways_again, ways_in
from pulumi_atlas.runtime.ledger import Ledger
from pulumi_atlas.runtime.settings import RuntimeSettings, SessionTemplate
from pulumi_atlas.runtime.store.contract import Answered

__all__ = ["Idempotency", "Opener", "Opening"]

#: The caller's key id, its Idempotency-Key, and the SHA-256 (hex) of the body.
Idempotency = tuple[str, str, str]

#: How long the pod of an inline spec may take to become usable, unless its `ready` says so.
READY_TIMEOUT_S = 600.0

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Opening:
    """A session with what lets its user in; shown once. `token` is None where the pod sees to that itself.

    `replayed`: it was opened by an earlier request with the same idempotency key.
    """

    session: Session
    token: str | None
    touch_token: str
    replayed: bool = False

    def __repr__(self) -> str:
        return f"Opening(session={self.session.id!r}, replayed={self.replayed})"


@dataclass(frozen=True, slots=True)
class _Order:
    """What the request asks for, put together with its template. `where`: the path of the spec in failures."""

    raw: Mapping[str, Any]
    template: SessionTemplate | None
    where: str


class Opener:
    """Opens sessions for one companion. `public_url` tells where pods reach it."""

    def __init__(
        self,
        ledger: Ledger,
        settings: RuntimeSettings,
        keyring: KeyRingFile,
        core: Core,
        public_url: Callable[[], str | None],
    ) -> None:
        self._ledger, self._settings, self._keyring, self._core = ledger, settings, keyring, core
        self._public_url = public_url
        self._turns: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        self._coming: Counter[str | None] = Counter()  # sessions being written: they count already

    async def open(self, request: SessionRequest, *, actor: str, idempotency: Idempotency | None) -> Opening:
        """Write the session, state `requested`. Raises InvalidSpec with every failure, RateLimited, InsufficientFunds,
        Conflict for an idempotency key that was used with another body, ConfigError, StoreUnavailable."""
        if idempotency is None:
            return await self._open(request, actor, None)
        caller, key, body_hash = idempotency
        turn = self._turns.setdefault((caller, key), asyncio.Lock())
        async with turn:
            before = await self._ledger.store.answered(caller, key)
            if before is not None:
                return await self._again(before, body_hash)
            return await self._open(request, actor, idempotency)

    async def _open(self, request: SessionRequest, actor: str, idempotency: Idempotency | None) -> Opening:
        spec, order = self.checked(request)
        now = self._ledger.clock.now()
        spent = await self._spent(request.owner, now)
        refused = opening.refusal(request.owner, self._standing(request.owner, spent), self._settings.limits)
        if refused is not None:
            raise refused
        session, handed = self._made(request, spec, order, now)
        answered = None if idempotency is None else Answered(*idempotency, session.id, now)
        self._coming[request.owner] += 1
        try:
            written = await self._ledger.add(session, actor, answered)
        finally:
            self._coming[request.owner] -= 1
            if not self._coming[request.owner]:
                del self._coming[request.owner]
        return replace(handed, session=written)

    async def _again(self, before: Answered, body_hash: str) -> Opening:
        if before.body_hash != body_hash:
            raise Conflict("this idempotency key was used with another body", hint="take a new key for another request")
        session = await self._ledger.read(before.session_id)
        ways = ways_again(self._keyring.ring, session, self._ledger.clock.now())
        if ways is None:
            text = f"session {session.id} was opened under this key, and the key that its tokens came from has retired"
            raise Conflict(text, hint="rotate the session to get new ones")
        return Opening(session, ways.token.token if ways.token else None, ways.touch.token, replayed=True)

    # -- checks

    def checked(self, request: SessionRequest) -> tuple[SessionSpec, _Order]:
        """The pod that is asked for, checked by everything that needs no network. Raises InvalidSpec."""
        found = list(opening.source_failures(request, self._settings.templates))
        found += opening.over_caps(request, self._settings.limits)
        order, spec = self._order(request), None
        if not any(failure.path in ("template", "spec") for failure in found):
            spec, wrong = self._checked_spec(order)
            found += wrong
        if found or spec is None:
            raise InvalidSpec(found, operation="open")
        return spec, order

    def _order(self, request: SessionRequest) -> _Order:
        template = self._settings.templates.get(request.template or "")
        if template is None:
            return _Order(request.spec or {}, None, "spec")
        return _Order(template.spec, template, f"template.{request.template}")

    def _checked_spec(self, order: _Order) -> tuple[SessionSpec | None, list[Failure]]:
        raw, where = dict(order.raw), order.where
        found: list[Failure] = []
        env, own = self._environment(order, found), raw.get("env", {})
        if isinstance(own, Mapping):
            raw["env"] = {**env, **own}
            origins = ("ATLAS_ORIGINS",) if self._settings.origins else ()
            found += _under(where, opening.reserved_names(raw["env"], also=origins))
        kind = self._provider(raw, where, found)
        found += _under(where, check_pod(SessionSpec, raw))
        if kind is not None:
            if "env" not in kind.accepts:
                hint = kind.reasons.get("env", "")
                found.append(Failure(f"{where}.provider", "its pods cannot be told what verifies visitors", hint))
            remote = not hasattr(kind, ABILITIES["reach"][1])
            found += _under(where, opening.unreachable(self._public_url(), remote=remote))
        return (None if found else validation.parse(SessionSpec, raw)), found

    def _provider(self, raw: dict[str, Any], where: str, found: list[Failure]) -> type[Provider] | None:
        """The provider, chosen, known, and with a key: what cannot be rented is better refused now than failed later."""
        account = raw.get("account")
        if not all(one is None or isinstance(one, str) for one in (raw.get("provider"), account)):
            return None  # the check of the rest says that these are texts
        try:
            raw["provider"] = name = self._core.choose(raw.get("provider"), account)
            kind = registry.load(name)
        except ConfigError as error:
            if raw.get("provider") is None:
                raw["provider"] = "local"  # whichever: what is wrong with the rest does not depend on it
                found.append(Failure(f"{where}.provider", error.message, error.hint))
            return None  # one that is not known is told of by the check of the rest
        try:
            self._core.open(name, account)
        except AtlasError as error:
            found.append(Failure(f"{where}.provider", error.message, error.hint))
        return kind

    def _environment(self, order: _Order, found: list[Failure]) -> dict[str, str]:
        """Variables of our own environment that the template hands on."""
        names = order.template.env_from if order.template is not None else ()
        for name in names:
            if name not in self._core.environ:
                found.append(Failure(f"{order.where}.env_from", f"the companion's environment has no {name}"))
        return {name: self._core.environ[name] for name in names if name in self._core.environ}

    # -- limits

    async def _spent(self, owner: str | None, now: float) -> float:
        limits = self._settings.limits
        if owner is None or limits.owner_budget is None:
            return 0.0
        return await self._ledger.store.spent(owner, since=now - limits.owner_budget_days * _DAY_S)

    def _standing(self, owner: str | None, spent: float) -> opening.Standing:
        """What there is at this moment, sessions that are just being written included."""
        now, mine = self._ledger.clock.now(), self._ledger.of_owner(owner) if owner is not None else []
        running = sum(cost_at(one.cost_settled, one.cost_per_hour, one.cost_since, now) for one in mine)
        count = sum(1 for one in mine if not one.is_gone) + self._coming[owner]
        return opening.Standing(self._ledger.not_gone + self._coming.total(), count, spent + running)

    # -- the row

    def _made(self, request: SessionRequest, spec: SessionSpec, order: _Order, now: float) -> tuple[Session, Opening]:
        template, ident = order.template, f"s{secrets.token_urlsafe(17)[:22]}"
        auth = request.auth or (template.auth if template else "bearer")
        ways = ways_in(self._keyring.ring, ident, auth, 0)
        terms = opening.terms_of(request, template, self._settings)
        plain = spec.model_dump(mode="json", exclude_defaults=True, exclude={"env", "provider_options"})
        ready_s = template.ready_timeout_s if template else READY_TIMEOUT_S
        if spec.ready is not None and spec.ready.timeout_s is not None:
            ready_s = spec.ready.timeout_s
        session = Session(
            id=ident,
            state="requested",
            owner=request.owner,
            template=request.template,
            labels=dict(request.labels),
            provider=spec.provider,
            account=spec.account,
            spec=plain,
            sealed_env=seal(self._keyring.ring, Secrets(spec.env, spec.provider_options)),
            auth=auth,
            ready_timeout_s=ready_s,
            created_at=now,
            active_at=now,
            active_source="open",
            expires_at=None if terms.max_lifetime_s is None else now + terms.max_lifetime_s,
            **asdict(terms),
            **ways.hashes(),  # type: ignore[arg-type]
        )
        return session, Opening(session, ways.token.token if ways.token else None, ways.touch.token)


def _under(prefix: str, found: Any) -> list[Failure]:
    return [replace(one, path=f"{prefix}.{one.path}" if one.path else prefix) for one in found]
