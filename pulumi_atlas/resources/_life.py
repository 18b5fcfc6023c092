"""What the lives of all our resources share: scrubbed errors, hidden inputs, births. Loaded only where the engine calls.

`_shell` is the light half, which a program imports; this one brings models, providers and the client with it.
"""

from __future__ import annotations

import contextlib
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)
from pydantic import BaseModel

from pulumi_atlas.client import kinds
from pulumi_atlas.client.opened import Opened
from pulumi_atlas.errors import AtlasError, Failure, InvalidSpec, NotFound, Unauthorized, UnknownOutcome
from pulumi_atlas.ids import Owner, Tag, new_birth
from pulumi_atlas.models import Timeouts
from pulumi_atlas.resources import _process, _wire
from pulumi_atlas.rules.diff import Plan
from pulumi_atlas.rules.unknown import holds_unknown

__all__ = ["EngineError", "Life", "scrubbed"]


class EngineError(Exception):
    """What the engine prints: one line, without secrets and without a traceback."""


EngineError.__module__ = "builtins"  # the traceback module then prints the name without a path
EngineError.__qualname__ = "atlas"


class Life(ABC):
    """What the engine may ask of one kind of resource. Subclasses say what is theirs in class attributes and `_…` methods."""

    kind: ClassVar[kinds.Kind[Any]]
    model: ClassVar[type[BaseModel]]
    outputs: ClassVar[tuple[str, ...]]
    issued: ClassVar[tuple[str, ...]] = ()
    """Outputs that we mint ourselves, once: no provider can tell them again."""

    def configure(self, req: ConfigureRequest) -> None:
        _process.enter()
        _process.configure(getattr(req.config, "_props", {}))

    # ---- what a kind of thing must say of itself

    @abstractmethod
    def _failures(self, raw: Mapping[str, Any]) -> list[Failure]:
        """Everything wrong with the arguments."""

    def _refused(self, olds: Mapping[str, Any], raw: Mapping[str, Any]) -> list[Failure]:
        """Changes of what exists that no provider can make. `olds`: its inputs, none when a new thing is made."""
        return []

    @abstractmethod
    def _plan(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Plan:
        """What differs, and what that asks for."""

    def _issue(self, args: Any, olds: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments with what the thing must be told of what is issued for it, and that as outputs.

        `olds`: the last outputs, none for a new thing. What they hold is kept while it serves.
        """
        return args, {}

    @abstractmethod
    async def _make(self, opened: Opened, args: Any, tag: Tag) -> Any:
        """Rent it, and wait until it is usable."""

    @abstractmethod
    async def _change(self, opened: Opened, ident: str, args: Any, plan: Plan) -> Any:
        """Do what the plan asks of an existing thing."""

    @abstractmethod
    def _live(self, props: Mapping[str, Any], thing: Any, issued: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with the live values of those that the provider shows. `issued`: what was issued for it."""

    @abstractmethod
    def _observed(self, thing: Any) -> dict[str, Any]:
        """The outputs that are not arguments."""

    # ---- what the engine calls

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        with scrubbed(self.kind.name, "check", news, _olds):
            _seen(_olds)
            raw = self._arguments(news)
            failures = [*_problems(news), *self._failures(raw)]
            failures += self._refused(_olds, raw) if _olds and not failures else []
            filled: dict[str, Any] = {} if failures else self._with_defaults(raw)
            checked = {**news, **filled, **_marks(_olds, news)}
            told = _once(failures)
            return CheckResult(checked, [CheckFailure("", _wire.redact(str(f), news)) for f in told])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        with scrubbed(self.kind.name, "diff", _news, _olds):
            _seen(_olds)
            plan = self._plan(_olds, self._arguments(_news))
            moved = _olds.get(_wire.PROVIDER_KEY) != _news.get(_wire.PROVIDER_KEY)
            if plan.is_empty and not moved:
                return DiffResult(changes=False)
            unseen = plan.unseen or moved
            return DiffResult(changes=True if unseen else None, replaces=list(plan.replaces))

    def create(self, props: dict[str, Any]) -> CreateResult:
        issued: dict[str, Any] = {}
        with scrubbed(self.kind.name, "create", props, issued):
            args, minted = self._issue(self._parsed(props), {})
            issued.update(minted)
            tag = Tag(props["birth"], Owner.parse(props["owner"]))

            async def work() -> CreateResult:
                core = _process.core()
                opened = core.open(args.provider, args.account)
                thing, identity = await self._make(opened, args, tag), await opened.identity()
                try:
                    made = datetime.now(UTC).isoformat()
                    return CreateResult(thing.id, {**self._outs(props, thing, identity, made=made), **issued})
                except Exception:
                    await core.take_back(
                        self.kind, opened, tag
                    )  # the engine gets no answer, so it cannot know the thing
                    raise

            return _process.run(work())

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        with scrubbed(self.kind.name, "read", props):
            _seen(props)

            async def work() -> tuple[Any, str]:
                core = _process.core()
                opened = core.open(props.get("provider"), props.get("account"))
                identity = props.get("account_id")
                found = await core.read(self.kind, opened, id_, identity=identity, age_s=_age_s(props))
                return found, await opened.identity()

            thing, identity = _process.run(work())
            if thing is None or getattr(thing, "status", "") == "terminated":
                return ReadResult("", {})
            issued = {name: props[name] for name in self.issued if props.get(name) is not None}
            live = self._live(self._stored(props), thing, issued)
            if not props.get("birth"):  # not ours: what is secret in it, only its owner's program knows
                live = {name: value for name, value in live.items() if name not in ("env", "auth")}
            marks: dict[str, Any] = {mark: props[mark] for mark in ("birth", "owner") if mark in props}
            name: str = props.get("provider") or thing.provider
            inputs: dict[str, Any] = {"provider": name, **live, **marks}
            outs = self._outs(inputs, thing, identity, made=props.get("created_at"))
            return ReadResult(id_, {**outs, **issued}, inputs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        issued: dict[str, Any] = {}
        with scrubbed(self.kind.name, "update", _news, _olds, issued):
            _seen(_olds)
            args, minted = self._issue(self._parsed(_news), _olds)
            issued.update(minted)
            plan = self._plan(_olds, self._arguments(_news))

            async def work() -> tuple[Any, str]:
                opened = _process.core().open(args.provider, args.account)
                name = f"{self.kind.name} {_id}"
                await opened.check_account(_olds.get("account_id"), operation="update", name=name)
                return await self._change(opened, _id, args, plan), await opened.identity()

            try:
                thing, identity = _process.run(work())
            except NotFound as error:
                error.hint = "it was removed behind Pulumi's back: `pulumi up --refresh` makes it anew"
                raise error from None
            made = _olds.get("created_at")
            outs = self._outs({**_news, **_marks(_olds, _news)}, thing, identity, made=made)
            return UpdateResult({**outs, **issued})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        with scrubbed(self.kind.name, "delete", _props):
            _process.core().known.add(str(_props.get("birth")))

            async def work() -> None:
                core = _process.core()
                opened = core.open(_props.get("provider"), _props.get("account"))
                await core.delete(
                    self.kind,
                    opened,
                    _id,
                    identity=_props.get("account_id"),
                    birth=_props.get("birth"),
                    timeout_s=Timeouts.model_validate(_props.get("timeouts") or {}).delete_s,
                )

            _process.run(work())

    # ---- what an import asks

    def as_stored(
        self, arguments: Mapping[str, Any], tag: Tag, thing: Any, identity: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and outputs of an existing thing that these arguments declare. Raises InvalidSpec when none can."""
        raw = self._arguments(arguments)
        failures = self._failures(raw)
        if failures:
            raise InvalidSpec(failures, provider=str(raw.get("provider")), operation=f"import {self.kind.name}")
        inputs = {**raw, **self._with_defaults(raw), "birth": tag.birth, "owner": str(tag.owner)}
        return inputs, self._outs(inputs, thing, identity, made=None)

    # ---- shared

    def _arguments(self, props: Mapping[str, Any]) -> dict[str, Any]:
        raw = _wire.arguments(self.model, props, self.outputs)
        return {name: _wire.canonical(self.model, name, value) for name, value in raw.items()}

    def _stored(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments out of stored outputs: anything else there is an output."""
        return {name: value for name, value in self._arguments(props).items() if name in self.model.model_fields}

    def _parsed(self, props: Mapping[str, Any]) -> Any:
        raw = self._arguments(props)
        failures = self._failures(raw)  # what was unknown at preview is known now
        if failures:
            raise InvalidSpec(failures, provider=str(raw.get("provider")), operation=f"create {self.kind.name}")
        return self.model.model_validate(raw)

    def _with_defaults(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments in one spelling, with defaults that decide something, so that state says what will run."""
        filled = {k: v for k, v in raw.items() if not holds_unknown(v)}
        for name in ("desired_status", "on_exit", "workers"):
            info = self.model.model_fields.get(name)
            if info is not None and raw.get(name) is None:
                default = info.get_default(call_default_factory=True)
                filled[name] = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
        return filled

    def _outs(self, props: Mapping[str, Any], thing: Any, identity: str, *, made: str | None) -> dict[str, Any]:
        """`made`: when it was created as far as we know, for a provider that does not say: its age guards what is young."""
        echoed = {k: v for k, v in props.items() if k not in (_wire.PROVIDER_KEY, "problems") and v is not None}
        age = {"created_at": made} if made else {}
        return {**echoed, **age, **self._observed(thing), "account_id": identity}


def _seen(olds: Mapping[str, Any]) -> None:
    """The engine shows a birth in its state, so the intent of that birth has done its work."""
    birth = olds.get("birth")
    if isinstance(birth, str) and birth:
        core = _process.core()
        core.known.add(birth)
        book = core.book
        if book.is_noted(birth):
            book.close(birth)


def _marks(olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
    """Birth and owner: kept as they are for what exists; a new thing gets a new birth."""
    birth = olds.get("birth") or new_birth()
    owner = olds.get("owner") or news.get("owner")
    return {"birth": birth, "owner": owner}


def _problems(news: Mapping[str, Any]) -> list[Failure]:
    """What the program process found wrong; it cannot say so itself without a traceback."""
    rows = news.get("problems")
    if not isinstance(rows, list):
        return []
    return [
        Failure(str(row["path"]), str(row["message"]), str(row["hint"])) for row in rows if isinstance(row, Mapping)
    ]


def _once(failures: list[Failure]) -> list[Failure]:
    """Without the missing provider twice: the reason why it is missing says more."""
    explained = {f.path for f in failures if f.message != "is required"}
    return list(dict.fromkeys(f for f in failures if f.message != "is required" or f.path not in explained))


def _age_s(props: Mapping[str, Any]) -> float | None:
    try:
        made = datetime.fromisoformat(str(props.get("created_at")))
    except ValueError:
        return None
    return (datetime.now(UTC) - made).total_seconds() if made.tzinfo else None


@contextlib.contextmanager
def scrubbed(kind: str, operation: str, *props: Mapping[str, Any]) -> Iterator[None]:
    """Everything that goes wrong leaves as one line that holds no secret; `busy` keeps the process alive meanwhile."""
    _process.enter()
    with _process.busy():
        try:
            yield
        except AtlasError as error:
            raise EngineError(_wire.redact(_advice(error).one_line(), *props)) from None
        except Exception as error:  # noqa: BLE001  # whatever it is, its traceback may hold secrets
            raise EngineError(_unexpected(kind, operation, error)) from None


def _advice(error: AtlasError) -> AtlasError:
    if isinstance(error, Unauthorized):
        return error.with_hint("refresh and destroy use the key of the last program run; `--run-program` takes today's")
    if isinstance(error, UnknownOutcome):
        return error.with_hint("`atlas doctor --recover` looks for it")
    return error


def _unexpected(kind: str, operation: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    return f"{operation} of a {kind} failed unexpectedly with {type(error).__name__}{where}; please report this"
