"""The content of atlas.yaml: parsed, checked, and every fault with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from pulumi_atlas.config._fault import Fault, FileRefused
from pulumi_atlas.config._near import did_you_mean

if TYPE_CHECKING:
    import yaml

__all__ = ["Account", "Content", "Section", "line_of", "parse", "parse_section", "words_of"]

_LOCAL_URL = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/.*)?")


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _safe_url(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith("https://") and not _LOCAL_URL.fullmatch(value):
        raise ValueError("must begin with https:// (http:// only to this machine), because the key is sent there")
    return value


_Text = Annotated[str | None, BeforeValidator(_blank_is_none)]
_Url = Annotated[str | None, BeforeValidator(_safe_url), BeforeValidator(_blank_is_none)]


class Section(BaseModel):
    """How one provider is reached: at most one source of its key, its address, and its own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_key_env: _Text = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api_key_file: _Text = None
    api_key: Annotated[SecretStr | None, BeforeValidator(_blank_is_none)] = None
    base_url: _Url = None
    settings: dict[str, str | int | float | bool] = {}

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        sources = [name for name in ("api_key_env", "api_key_file", "api_key") if getattr(self, name) is not None]
        if len(sources) > 1:
            raise ValueError(f"says {' and '.join(sources)}: keep one of them")
        return self


class Account(Section):
    """A named profile: the same for one account of a provider."""

    provider: str = Field(min_length=1)


class Content(BaseModel):
    """The whole file. `runtime` is understood by the room of that name: here it is any mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: _Text = None
    state_dir: _Text = None
    accounts: dict[str, Account] = {}
    providers: dict[str, Section] = {}
    runtime: dict[str, Any] = Field(default={}, repr=False)


def parse(text: str, path: Path) -> Content:
    """The content of the file. Raises FileRefused that names each fault with file, line and key, and never a value."""
    return _parsed(text, path)[0]


def parse_section(text: str, path: Path, name: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """One section of the file as it stands, and the file's node for the lines. Raises as `parse`, for the whole file.

    A value that was left out counts as not there; one that is written as `null` is None.
    """
    content, node = _parsed(text, path)
    return getattr(content, name), node


def _parsed(text: str, path: Path) -> tuple[Content, yaml.Node | None]:
    import yaml  # here, because most runs have no file to read

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        faults = _repeated_keys(node, path)
        if faults:
            raise FileRefused(faults)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise FileRefused([Fault(path, line, "", f"is not YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError:
        raise FileRefused([Fault(path, 1, "", "is not YAML: it holds a character that YAML does not allow")]) from None
    except RecursionError:
        raise FileRefused([Fault(path, 1, "", "holds itself: an alias (`*`) stands within its own anchor")]) from None
    if value is None:
        return Content(), node
    if not isinstance(value, dict):
        hint = "begin with `provider:`, `accounts:`, `providers:` or `runtime:`"
        raise FileRefused([Fault(path, 1, "", "must be a mapping of settings", hint)])
    try:
        return Content.model_validate(_without_blanks(value, node)), node
    except ValidationError as error:
        raise FileRefused([_fault(node, path, one) for one in error.errors()]) from None


def _fault(node: yaml.Node | None, path: Path, error: Mapping[str, Any]) -> Fault:
    steps = error["loc"]
    return Fault(path, line_of(node, steps), ".".join(map(str, steps)), *words_of(Content, error))


def words_of(model: type[BaseModel], error: Mapping[str, Any]) -> tuple[str, str]:
    """What pydantic found in a value for `model`: what is wrong, and a hint. Never shows the value."""
    if error["type"] == "extra_forbidden":
        return "there is no such setting", did_you_mean(model, error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    return f"{text[:1].lower()}{text[1:]}", ""


def line_of(node: yaml.Node | None, steps: Sequence[int | str]) -> int:
    """The line of the key (or item) at the end of the path, or of the last step that is there."""
    import yaml

    line = 1
    for step in steps:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
            continue
        found = _entry(node, str(step))
        if found is None:
            break
        line, node = found
    return line


def _entry(node: yaml.Node | None, name: str) -> tuple[int, yaml.Node] | None:
    """The line of a mapping's key, and its value; one that came by a merge (`<<`) where it was written."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for key, inner in node.value:
        if key.value == name:
            return key.start_mark.line + 1, inner
        if key.tag == "tag:yaml.org,2002:merge":
            merged += inner.value if isinstance(inner, yaml.SequenceNode) else [inner]
    return next((found for one in merged if (found := _entry(one, name))), None)


def _repeated_keys(node: yaml.Node | None, path: Path, where: str = "") -> list[Fault]:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [
            fault for place, inner in enumerate(node.value) for fault in _repeated_keys(inner, path, f"{where}{place}.")
        ]
    if not isinstance(node, yaml.MappingNode):
        return []
    faults: list[Fault] = []
    seen: set[str] = set()
    for key, inner in node.value:
        name = f"{where}{key.value}"
        if name in seen:
            faults.append(Fault(path, key.start_mark.line + 1, name, "is there twice", "keep one of them"))
        seen.add(name)
        faults += _repeated_keys(inner, path, f"{name}.")
    return faults


def _without_blanks(value: dict[Any, Any], node: yaml.Node | None) -> dict[str, Any]:
    """An entry whose value was left out (`accounts:` and nothing more) counts as not there.

    Within `runtime`, whose settings know "none", a written `null` stays.
    """
    runtime = value.get("runtime")
    kept = _filled({key: v for key, v in value.items() if key != "runtime"}, None)
    if isinstance(runtime, dict):
        found = _entry(node, "runtime")
        return kept | {"runtime": _filled(runtime, found[1] if found else None)}
    return kept if runtime is None else kept | {"runtime": runtime}


def _filled(value: dict[Any, Any], node: yaml.Node | None) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        found = _entry(node, str(key))
        if isinstance(inner, dict):
            kept[str(key)] = _filled(inner, found[1] if found else None)
        elif inner is not None or (found is not None and found[1].value != ""):
            kept[str(key)] = inner
    return kept
