"""How a call of the mock provider is made: recorded, failed where a test wants it, and done in one step on the world."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pulumi_atlas.access import Access
from pulumi_atlas.errors import AtlasError, ConfigError
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.mock import _faults
from pulumi_atlas.providers.mock._state import PROVIDER, State
from pulumi_atlas.providers.mock._world import PROVISION_VARIABLE, World

__all__ = ["Act", "Caller", "shown"]

T = TypeVar("T")

#: Gets the state, the world's time and the caller's account.
Act = Callable[[State, float, str], T]

_MASK = "***"


class Caller:
    """Makes the calls of one access."""

    def __init__(self, access: Access, world: World | None) -> None:
        self._access = access
        self._world = world

    @property
    def world(self) -> World:
        """The world that is worked on, opened at the first call."""
        if self._world is None:
            self._world = World.of(self._access)
        return self._world

    def read(self, operation: str, arguments: dict[str, Any], act: Act[T]) -> T:
        """A call that only looks."""
        self._record(operation, arguments)

        def run(state: State, now: float) -> T | None:
            failing = _faults.match(state, operation, arguments) is not None
            return None if failing else act(state, now, self._account(state))

        with _naming(operation):
            result = self.world.store.read(run)
            # No act answers None to a read, so that it can say here: a fault waits, and counting it down is a write.
            return result if result is not None else self._faulted(operation, arguments, act)

    def write(self, operation: str, arguments: dict[str, Any], act: Act[T]) -> T:
        """A call that may change the world."""
        self._record(operation, arguments)
        with _naming(operation):
            return self._faulted(operation, arguments, act)

    def _faulted(self, operation: str, arguments: dict[str, Any], act: Act[T]) -> T:
        """Act within one write; a fault that waits for this call comes before or after the effect, and is counted down
        in the same write, even when the act itself is refused."""

        def run(state: State, now: float) -> T | AtlasError:
            fault = _faults.take(state, operation, arguments)
            error = _faults.as_error(fault, operation) if fault else None
            if fault and error and not fault["after_effect"]:
                return error
            try:
                result = act(state, now, self._account(state))
            except AtlasError as refusal:
                return error or refusal
            return error or result

        outcome = self.world.store.write(run)
        if isinstance(outcome, AtlasError):
            raise outcome
        return outcome

    def plain(self, act: Act[T], *, writes: bool = False) -> T:
        """One more look within a call that has been recorded already."""
        store = self.world.store
        way = store.write if writes else store.read
        return way(lambda state, now: act(state, now, self._account(state)))

    def _record(self, operation: str, arguments: dict[str, Any]) -> None:
        account = self.world.store.read(lambda state, now: self._account(state))
        self.world.record(operation, account, arguments)

    def _account(self, state: State) -> str:
        return f"{PROVIDER}:{state.settings.account or self._access.account or 'default'}"

    def provision_s(self, state: State) -> float:
        """Seconds from create or start to running. Raises ConfigError when the environment says nonsense."""
        if state.settings.provision_s is not None:
            return state.settings.provision_s
        value = self._access.settings.get("provision_s") or self._access.environ.get(PROVISION_VARIABLE) or 0
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise ConfigError(
                f"{PROVISION_VARIABLE} is {value!r}, not a number of seconds",
                provider=PROVIDER,
                hint="say 1.5, or leave it out",
            )
        return seconds


@contextmanager
def _naming(operation: str) -> Iterator[None]:
    """Says in an error which operation it came from."""
    try:
        yield
    except AtlasError as error:
        error.operation = error.operation or operation
        raise


def shown(spec: ComputeSpec | VolumeSpec | EndpointSpec) -> dict[str, Any]:
    """A spec for the record: without defaults, and without what `env` and the texts in `provider_options` hold."""
    masked = spec.model_dump(mode="json", exclude_defaults=True, exclude={"provider_options"})
    if "env" in masked:
        masked["env"] = dict.fromkeys(masked["env"], _MASK)
    if spec.provider_options:
        plain = {name: v if isinstance(v, int | float) else _MASK for name, v in spec.provider_options.items()}
        masked["provider_options"] = plain
    return masked
