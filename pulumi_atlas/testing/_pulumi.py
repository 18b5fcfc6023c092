"""Runs a user's Pulumi program without the engine: our resources are really checked, and made on the mock cloud.

The only file of this room that imports pulumi; `pytest_plugin` imports it when a test first asks for `atlas_program`.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dill  # type: ignore[import-untyped]
import yaml
from pulumi.dynamic import Config, ConfigureRequest, ResourceProvider
from pulumi.output import Unknown
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import configure, set_root_resource
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _sync_await

from pulumi_atlas import config as atlas_config
from pulumi_atlas.client import IntentBook
from pulumi_atlas.errors import AtlasError, ConfigError, Failure, InvalidSpec
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.mock import MockProvider
from pulumi_atlas.resources.fresh import fresh_process

__all__ = ["Made", "Program", "run_program"]

_OURS = "pulumi-python:dynamic/atlas:"
_PROVIDER_KEY = "__provider"
_MOCK = MockProvider.name

#: What the mock cloud is asked for, by the last word of our type tokens.
_SPECS: Mapping[str, tuple[type[Any], frozenset[str]]] = {
    "Pod": (ComputeSpec, MockProvider.accepts),
    "Volume": (VolumeSpec, frozenset(VolumeSpec.model_fields)),
    "Endpoint": (EndpointSpec, MockProvider.endpoint_accepts),
}


@dataclass(frozen=True)
class Made:
    """One resource of the program. `type` is the token's last word (`Pod`) for ours; `inputs` are as checked."""

    name: str
    type: str
    urn: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """What a program made and exported. `secrets` names the outputs that it exported as secrets."""

    resources: tuple[Made, ...]
    outputs: Mapping[str, Any]
    secrets: frozenset[str] = field(default_factory=frozenset)

    def __getitem__(self, name: str) -> Made:
        """The resource of that name. Raises KeyError naming the known ones, or when several have it."""
        found = [made for made in self.resources if made.name == name]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{made.type} {made.name}" for made in self.resources)
        raise KeyError(f"{len(found)} resources are named '{name}'; the program made: {known or 'none'}")

    def of_type(self, kind: str) -> tuple[Made, ...]:
        """The resources of a type: `Pod`, `Volume`, `Endpoint`, or any token."""
        return tuple(made for made in self.resources if made.type == kind)


def run_program(
    program: Callable[[], Any] | str | os.PathLike[str],
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    stack: str = "test",
    project: str | None = None,
    preview: bool = False,
    others: mocks.Mocks | None = None,
) -> Program:
    """Run a program: a callable, or a folder with a `Pulumi.yaml` (or a single file).

    Arguments are checked against the provider that the program names; what passes is made on the mock cloud, whichever
    provider that is. `config` and `secrets` are the stack's configuration (`{"atlas:provider": "runpod"}`). With `preview`
    nothing is made and ids are unknown. Resources that are not ours get the answers of `others`, by default an id made of
    their name and their inputs as outputs.

    Raises InvalidSpec with the failures of a resource that its check refused (paths begin with the resource's name);
    otherwise what the program itself raises.
    """
    folder, name, body = _program(program)
    settings = {**(config or {}), **(secrets or {})}
    monitor = _Monitor(Config(settings, project or name), preview=preview, others=others or _Echo())

    def play() -> Program:
        set_up = _set_up(monitor, project or name, stack, settings, list(secrets or {}), preview=preview)
        return _play(monitor, set_up, body)

    with fresh_process(), _in_folder(folder), concurrent.futures.ThreadPoolExecutor(1, "atlas-program") as pool:
        return pool.submit(play).result()  # Pulumi keeps its settings by thread


def _play(monitor: _Monitor, set_up: Callable[[], None], body: Callable[[], Any]) -> Program:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        set_up()
        loop.run_until_complete(run_in_stack(body))
    except Exception:
        if monitor.failures:
            raise InvalidSpec(monitor.failures, operation="check") from None
        if monitor.trouble is not None:
            raise monitor.trouble from None
        raise
    finally:
        _end(loop)
    return Program(tuple(monitor.made), monitor.outputs, frozenset(monitor.secrets))


def _set_up(
    monitor: _Monitor, project: str, stack: str, settings: dict[str, str], secrets: list[str], *, preview: bool
) -> Callable[[], None]:
    def install() -> None:
        features = set(monitor.GetDeploymentInfo(None).supportedFeatures)  # type: ignore[no-untyped-call]
        kept = mocks.MockSettings(  # type: ignore[no-untyped-call]
            monitor=monitor,
            monitor_features=features,
            engine=mocks.MockEngine(None),
            project=project,
            stack=stack,
            dry_run=preview,
            organization="organization",
            callbacks=None,
        )
        configure(kept)
        set_root_resource(None)  # type: ignore[arg-type]  # a program before this one may have left its own
        set_all_config(settings, secrets)

    return install


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing of the program goes on, not even after a failure in its middle."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@contextlib.contextmanager
def _own_loop() -> Iterator[None]:
    """Pulumi's helpers want an event loop on each thread that calls the monitor, and would leave one open there."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _Echo(mocks.Mocks):
    """The default for resources of other packages."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


class _Monitor(mocks.MockMonitor):
    """Pulumi's mock of the engine, with our resources really going through their provider."""

    def __init__(self, config: Config, *, preview: bool, others: mocks.Mocks) -> None:
        super().__init__(others)
        self._config, self._preview = config, preview
        self._lock = threading.Lock()
        self.made: list[Made] = []
        self.failures: list[Failure] = []
        self.trouble: AtlasError | None = None
        self.outputs: dict[str, Any] = {}
        self.secrets: set[str] = set()

    def RegisterResource(self, request: Any) -> Any:
        with _own_loop():
            return self._register(request)

    def ReadResource(self, request: Any) -> Any:
        with _own_loop():
            return self._read(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            shown = rpc.deserialize_properties(request.outputs, True)
            self.secrets |= {name for name, value in shown.items() if rpc.is_rpc_secret(value)}
            self.outputs |= _without_secrets(shown)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def _register(self, request: Any) -> Any:
        if not request.type.startswith(_OURS):
            answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
            if request.custom:
                inputs = _without_secrets(rpc.deserialize_properties(request.object, True))
                self._note(request, answer.urn, answer.id, inputs, _without_secrets(self.resources[answer.urn].state))
            return answer
        urn = self.make_urn(request.parent, request.type, request.name)
        given = rpc.deserialize_properties(request.object, True)
        with self._told(request.name):
            ident, inputs, outs = self._create(_kind(request.type), request.name, _without_secrets(given))
        self._note(request, urn, ident, inputs, outs)
        also = frozenset(request.additionalSecretOutputs)
        return self._answer(resource_pb2.RegisterResourceResponse, urn, ident, given, outs, also, with_id=True)

    def _read(self, request: Any) -> Any:
        if not request.type.startswith(_OURS):
            return super().ReadResource(request)  # type: ignore[no-untyped-call]
        urn = self.make_urn(request.parent, request.type, request.name)
        given = rpc.deserialize_properties(request.properties, True)
        with self._told(request.name):
            provider, props = self._provider(given), _without_secrets(given)
            found = provider.read(request.id, {**props, "provider": _MOCK})
            if not found.id:
                raise InvalidSpec([Failure(request.name, f"there is no {_kind(request.type)} '{request.id}'")])
        outs = {**(found.outs or {}), _PROVIDER_KEY: given[_PROVIDER_KEY]}
        self._note(request, urn, request.id, props, outs)
        also = frozenset(request.additionalSecretOutputs)
        return self._answer(resource_pb2.ReadResourceResponse, urn, request.id, given, outs, also, with_id=False)

    def _create(self, kind: str, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        provider = self._provider(props)
        checked = provider.check({}, props)
        if checked.failures:
            raise InvalidSpec([_failure(name, failure.reason) for failure in checked.failures])
        inputs = dict(checked.inputs)
        if self._preview:
            return "", inputs, {key: value for key, value in inputs.items() if not _is_unknown(value)}
        made = provider.create(_for_the_mock(kind, inputs))
        outs = {**(made.outs or {}), **{key: value for key, value in inputs.items() if value is not None}}
        if isinstance(outs.get("birth"), str):
            IntentBook(atlas_config.load().state_dir).close(outs["birth"])  # as the engine, which knows it now
        return str(made.id), inputs, outs

    def _provider(self, props: Mapping[str, Any]) -> ResourceProvider:
        provider: ResourceProvider = dill.loads(base64.b64decode(props[_PROVIDER_KEY]))
        provider.configure(ConfigureRequest(config=self._config))
        return provider

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Keeps what our side refused, because it reaches the program as a plain exception."""
        try:
            yield
        except Exception as error:
            cause = error if isinstance(error, AtlasError) else error.__context__
            with self._lock:
                if isinstance(cause, InvalidSpec):
                    self.failures += cause.failures
                elif isinstance(cause, AtlasError) and self.trouble is None:
                    cause.message = f"{name}: {cause.message}"
                    self.trouble = cause
            raise

    def _note(self, request: Any, urn: str, ident: str, inputs: Mapping[str, Any], outs: Mapping[str, Any]) -> None:
        shown = {key: value for key, value in inputs.items() if value is not None and key not in _HIDDEN}
        kind = _kind(request.type)
        if kind == "Stack" and request.type.startswith(_OURS):
            return  # ours, and not the program's
        seen = {key: value for key, value in outs.items() if key not in _HIDDEN}
        with self._lock:
            self.made.append(Made(request.name, kind, urn, ident, shown, seen))

    def _answer(
        self,
        answer: Any,
        urn: str,
        ident: str,
        given: Mapping[str, Any],
        outs: Mapping[str, Any],
        also_secret: Set[str],
        *,
        with_id: bool,
    ) -> Any:
        secret = {name for name, value in given.items() if _holds_secret(value)} | also_secret
        state = {name: _secret(value) if name in secret else value for name, value in outs.items()}
        self.resources[urn] = mocks.MockMonitor.ResourceRegistration(urn, ident, dict(outs))
        shown = _sync_await(rpc.serialize_properties(state, {}))
        if with_id:
            return answer(urn=urn, id=ident, object=shown)
        return answer(urn=urn, properties=shown)


_HIDDEN = frozenset({_PROVIDER_KEY, "birth", "owner", "problems"})


def _for_the_mock(kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The same wish to the mock cloud, without what only another cloud knows."""
    if kind == "Stack" or inputs.get("provider") == _MOCK:
        return inputs
    spec, accepts = _SPECS[kind]
    foreign = (set(spec.model_fields) - accepts) | {"provider_options"}
    return {**{key: value for key, value in inputs.items() if key not in foreign}, "provider": _MOCK, "account": None}


def _failure(name: str, text: str) -> Failure:
    path, colon, rest = text.partition(": ")
    return Failure(f"{name}.{path}", rest) if colon else Failure(name, text)


def _kind(token: str) -> str:
    return token.rpartition(":")[2] if token.startswith(_OURS) else token


def _without_secrets(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return _without_secrets(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _holds_secret(value: Any) -> bool:
    if rpc.is_rpc_secret(value):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_secret(one) for one in inner)


def _secret(value: Any) -> dict[str, Any]:
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def _is_unknown(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Unknown) or any(_is_unknown(one) for one in inner)


def _program(program: Callable[[], Any] | str | os.PathLike[str]) -> tuple[Path | None, str, Callable[[], Any]]:
    if callable(program):
        return None, "project", program
    place = Path(program).absolute()
    if place.is_file():
        return place.parent, place.stem, lambda: _run_file(place)
    described = place / "Pulumi.yaml"
    if not described.is_file():
        raise ConfigError(
            f"{place} holds no Pulumi.yaml", hint="give a callable, a program's file or a project's folder"
        )
    project = yaml.safe_load(described.read_text(encoding="utf-8")) or {}
    main = place / str(project.get("main") or "")
    file = main if main.is_file() else main / "__main__.py"
    return place, str(project.get("name") or place.name), lambda: _run_file(file)


def _run_file(file: Path) -> None:
    runpy.run_path(str(file), run_name="__main__")


@contextlib.contextmanager
def _in_folder(folder: Path | None) -> Iterator[None]:
    """Run in the project's folder, with its modules importable and forgotten afterwards."""
    if folder is None:
        yield
        return
    known = set(sys.modules)
    with contextlib.chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name in set(sys.modules) - known:
                if str(getattr(sys.modules[name], "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                    del sys.modules[name]
