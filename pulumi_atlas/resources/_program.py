"""The program's side of a resource: defaults from settings, the owner, and what is wrong before the engine is asked."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from pulumi_atlas import config
from pulumi_atlas.errors import AtlasError, Failure
from pulumi_atlas.resources.stack import stack_of_program

__all__ = ["inputs_of", "owner_of", "real_types"]

C = TypeVar("C", bound=type[pulumi.Resource])

_TYPE_PREFIX = "pulumi-python:dynamic/"


def real_types(cls: C) -> C:
    """Evaluates the annotations of the outputs once: as text, pulumi would compile each of them anew for every resource."""
    cls.__annotations__ = inspect.get_annotations(cls, eval_str=True)
    return cls


def inputs_of(
    name: str, kind: str, given: Mapping[str, Any], outputs: tuple[str, ...], opts: pulumi.ResourceOptions | None
) -> dict[str, Any]:
    """The properties to register: arguments that were given, the hidden inputs, and the outputs declared as None."""
    problems: list[Failure] = []
    provider = given.get("provider") or _default_provider(problems)
    problems += _plain_keys()
    rows = [{"path": f.path, "message": f.message, "hint": f.hint} for f in problems]
    properties: dict[str, Any] = dict.fromkeys(outputs)
    properties |= {key: _plain(value) for key, value in given.items() if value is not None}
    properties |= {"name": name, "provider": provider, "owner": owner_of(name, kind, opts)}
    return {**properties, "problems": rows} if rows else properties


def owner_of(name: str, kind: str, opts: pulumi.ResourceOptions | None) -> pulumi.Output[str]:
    """The owner: this stack's id, and the resource's type below its parents' types, with its name."""
    parent = opts.parent if opts else None
    if parent is None:
        return stack_of_program().id.apply(lambda stack: f"stack:{stack}:{kind}::{name}")
    return pulumi.Output.all(stack_of_program().id, _alone(parent.urn)).apply(
        lambda both: f"stack:{both[0]}:{_types_of(both[1])}{kind}::{name}"
    )


def _alone(value: pulumi.Output[str]) -> pulumi.Output[str]:
    """The value without its dependencies: depending on a component means depending on its children, the asker included."""
    future = cast("Awaitable[str]", value.future(with_unknowns=True))
    return pulumi.Output(set(), future, value.is_known(), value.is_secret())


def _types_of(urn: str) -> str:
    """`project::a$b` of a parent's URN as `a$b$`; nothing for the stack itself."""
    parts = urn.split("::")
    qualified = parts[2] if len(parts) > 2 else ""
    return "" if qualified in ("", "pulumi:pulumi:Stack") else qualified.replace(_TYPE_PREFIX, "") + "$"


def _default_provider(problems: list[Failure]) -> str | None:
    stack = pulumi.Config("atlas").get("provider")
    try:
        return config.choose_provider(None, stack, config.load(environ=os.environ), os.environ)
    except AtlasError as error:
        problems.append(Failure("provider", error.message, error.hint))
        return None


def _plain_keys() -> list[Failure]:
    """Keys that stand in the stack's configuration in clear."""
    values = {**get_config_env(), **CONFIG.get()}
    shown = {name: {"secure": ""} if is_config_secret(name) else value for name, value in values.items()}
    return [replace(failure, path=f"config.{failure.path}") for failure in config.refuse_plain_keys(shown)]


def _plain(value: Any) -> Any:
    """A model as a mapping. Recognised by its class, because an `Output` has every attribute."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    return value
