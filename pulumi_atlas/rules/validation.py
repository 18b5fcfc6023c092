"""Is this input right? Every failure at once, with the property's path and a hint; unknown leaves are let through."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pulumi_atlas.errors import Failure, InvalidSpec
from pulumi_atlas.models.issued import GENERATED_ENV
from pulumi_atlas.rules.unknown import Unknown, holds_unknown, reaches_unknown

__all__ = ["Traits", "did_you_mean", "failures_of", "parse", "unsupported_fields"]

M = TypeVar("M", bound=BaseModel)

#: Our words for pydantic's, by its error type: what is wrong and what would be right. They never show the value.
_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("is required", ""),
    "string_type": ("must be text", "numbers and booleans must be written as text, for example '1'"),
    "string_too_short": ("must not be empty", "leave it out instead"),
    "too_short": ("must not be empty", "leave it out instead"),
    "tuple_type": ("must be a list", 'for a command write ["python", "train.py"]; a shell is ["sh", "-c", "…"]'),
    "list_type": ("must be a list", ""),
    "dict_type": ("must be a mapping", ""),
    "model_type": ("must be a mapping", ""),
    "bool_type": ("must be true or false", ""),
    "bool_parsing": ("must be true or false", ""),
    "int_type": ("must be a whole number", ""),
    "int_parsing": ("must be a whole number", ""),
    "int_from_float": ("must be a whole number", ""),
    "float_type": ("must be a number", ""),
    "float_parsing": ("must be a number", ""),
    "literal_error": ("is none of the possible values", ""),
    "finite_number": ("must be a finite number", ""),
}

_PATTERN_HINTS: Mapping[str, str] = {
    "name": "1 to 63 letters, digits, dots, dashes or underscores, a letter or digit first and last",
    "handler": "write it as 'module:function'",
    "path": "it begins with /",
    "provider": "lower-case letters, digits and underscores",
    "env": "names of variables may not be empty nor hold '='",
    "volumes": "mount paths are absolute: '/data'",
}


@dataclass(frozen=True)
class Traits:
    """What a provider honours, as values: see `Provider.accepts` and its neighbours in the contract."""

    name: str
    accepts: frozenset[str]
    reasons: Mapping[str, str] = field(default_factory=dict)


def parse(model: type[M], raw: Mapping[str, Any]) -> M:
    """The model of fully known input. Raises InvalidSpec with every failure."""
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise InvalidSpec(_translate(model, raw, error)) from None


def failures_of(model: type[BaseModel], raw: Mapping[str, Any]) -> list[Failure]:
    """Everything wrong with input that may hold unknowns: failures that an unknown may still cure are left out."""
    found = list(_pair_failures(raw))
    try:
        model.model_validate(dict(raw))
    except ValidationError as error:
        found = _translate(model, raw, error) + found
    return found


def unsupported_fields(model: type[BaseModel], raw: Mapping[str, Any], traits: Traits) -> list[Failure]:
    """One failure for each field that is set to other than its default and that the provider does not honour."""
    found = []
    for name, info in model.model_fields.items():
        value = raw.get(name)
        if name in traits.accepts or value is None or _is_default(value, info.get_default(call_default_factory=True)):
            continue
        reason = traits.reasons.get(name) or f"provider '{traits.name}' does not support it"
        found.append(Failure(name, f"not possible with provider '{traits.name}'", reason))
    return found


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, Unknown):
        return False
    if isinstance(default, tuple) and isinstance(value, Sequence) and not isinstance(value, str):
        return list(value) == list(default)
    if isinstance(default, BaseModel):
        return bool(value == default or value == default.model_dump(mode="json"))
    return bool(value == default)


def _translate(model: type[BaseModel], raw: Mapping[str, Any], error: ValidationError) -> list[Failure]:
    found: dict[tuple[str, str], Failure] = {}
    for row in error.errors(include_url=False, include_input=False):
        where = [step for step in row["loc"] if step != "[key]"]
        if reaches_unknown(raw, where):
            continue
        failure = _failure(model, raw, where, row)
        found.setdefault((failure.path, failure.message), failure)
    return list(found.values())


def _failure(model: type[BaseModel], raw: Mapping[str, Any], where: Sequence[Any], row: Mapping[str, Any]) -> Failure:
    path, kind = _spell(where), str(row["type"])
    if kind == "extra_forbidden":
        return Failure(path, "is not an option", did_you_mean(str(where[-1]), _names_at(model, where[:-1])))
    if kind == "value_error":
        return Failure(path, str(row["ctx"]["error"]))
    if kind == "string_pattern_mismatch":
        keys = [str(step) for step in reversed(where) if isinstance(step, str)]
        hint = next((_PATTERN_HINTS[key] for key in keys if key in _PATTERN_HINTS), "")
        return Failure(path, "has a form that is not allowed", hint)
    message, hint = _WORDS.get(kind, ("", ""))
    if kind == "literal_error":
        hint = f"one of {row['ctx']['expected']}"
    return Failure(path, message or _lower_first(str(row["msg"])), hint)


def _names_at(model: type[BaseModel], where: Sequence[Any]) -> list[str]:
    for step in where:
        info = model.model_fields.get(str(step))
        inner = list(_classes(info.annotation)) if info else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _classes(part)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, else all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"


def _spell(where: Sequence[Any]) -> str:
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else str(step))
    return text


def _lower_first(text: str) -> str:
    text = text.removeprefix("Input should be ")
    return f"must be {text}" if text and text[0].islower() else text[:1].lower() + text[1:]


def _pair_failures(raw: Mapping[str, Any]) -> Iterator[Failure]:
    yield from _repeated_ports(raw.get("ports"))
    yield from _repeated_volumes(raw.get("volumes"))
    yield from _ready_port(raw)
    yield from _generated_names(raw)


def _repeated_ports(ports: Any) -> Iterator[Failure]:
    if not isinstance(ports, Sequence) or isinstance(ports, str):
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        number = _port_number(port)
        if number and number in seen:
            yield Failure(f"ports[{index}]", f"port {number} is given twice", "each port once, with one protocol")
        seen.add(number)


def _port_number(port: Any) -> str:
    if isinstance(port, str):
        return port.partition("/")[0].strip()
    if isinstance(port, int | float) and not isinstance(port, bool):
        return str(int(port))
    return ""


def _repeated_volumes(volumes: Any) -> Iterator[Failure]:
    if not isinstance(volumes, Mapping):
        return
    counted = Counter(v for v in volumes.values() if isinstance(v, str))
    for path, volume in volumes.items():
        if isinstance(volume, str) and counted[volume] > 1:
            yield Failure(f"volumes.{path}", f"volume {volume} is mounted twice", "mount each volume at one path")
    clean = Counter(str(path).rstrip("/") for path in volumes)
    for path in volumes:
        if clean[str(path).rstrip("/")] > 1:
            yield Failure(f"volumes.{path}", "this path is given twice", "one volume for each path")
        if ".." in str(path).split("/"):
            yield Failure(f"volumes.{path}", "a mount path may not hold '..'")


def _ready_port(raw: Mapping[str, Any]) -> Iterator[Failure]:
    ready, ports = raw.get("ready"), raw.get("ports")
    if not isinstance(ready, Mapping) or holds_unknown(ports) or holds_unknown(ready):
        return
    if ready.get("port") is None and not ready.get("path"):
        return
    asked = {_port_number(port) for port in ports or ()}
    wanted = _port_number(ready.get("port")) if ready.get("port") is not None else ""
    if (wanted and wanted not in asked) or not asked:
        yield Failure("ready.port", "is not one of the pod's ports", "add it to ports=")


def _generated_names(raw: Mapping[str, Any]) -> Iterator[Failure]:
    """With `auth`, the user's environment may not hold what is generated: it would let in somebody else, or nobody."""
    env = raw.get("env")
    if not isinstance(raw.get("auth"), str) or not isinstance(env, Mapping):
        return
    for name in env:
        if name in GENERATED_ENV:
            hint = "leave it out, or leave auth= out and set all of these yourself"
            yield Failure(f"env.{name}", "is generated because of auth=", hint)
