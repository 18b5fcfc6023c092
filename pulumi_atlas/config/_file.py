"""The content of atlas.yaml: parsed, checked, and every fault with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from pulumi_atlas.errors import ConfigError

if TYPE_CHECKING:
    import yaml

__all__ = ["Account", "Content", "Section", "parse"]

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
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: _Text = None
    state_dir: _Text = None
    accounts: dict[str, Account] = {}
    providers: dict[str, Section] = {}


def parse(text: str, path: Path) -> Content:
    """The content of the file. Raises ConfigError that names each fault with file, line and key, and never a value."""
    import yaml  # here, because most runs have no file to read

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        faults = _repeated_keys(node)
        if faults:
            raise _refused(path, faults)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refused(path, [(line, f"is not YAML: {error.problem or error.context}", "")]) from None
    except yaml.YAMLError:
        raise _refused(path, [(1, "is not YAML: it holds a character that YAML does not allow", "")]) from None
    if value is None:
        return Content()
    if not isinstance(value, dict):
        raise _refused(
            path, [(1, "must be a mapping of settings", "begin with `provider:`, `accounts:` or `providers:`")]
        )
    try:
        return Content.model_validate(_without_blanks(value))
    except ValidationError as error:
        raise _refused(path, [_fault(node, e["loc"], e["type"], e["msg"]) for e in error.errors()]) from None


_Fault = tuple[int, str, str]  # line, what, hint


def _refused(path: Path, faults: Sequence[_Fault]) -> ConfigError:
    lines = [f"{path}:{line}: {what}" + (f" ({hint})" if hint else "") for line, what, hint in faults]
    return ConfigError("; ".join(lines), hint="mend the file; nothing was done")


def _fault(node: yaml.Node | None, loc: tuple[int | str, ...], kind: str, message: str) -> _Fault:
    where = ".".join(str(step) for step in loc)
    line = _line(node, loc)
    if kind == "extra_forbidden":
        return line, f"{where}: there is no such setting", _did_you_mean(loc)
    text = message.removeprefix("Value error, ")
    return line, f"{where}: {text[:1].lower()}{text[1:]}" if where else text, ""


def _did_you_mean(loc: tuple[int | str, ...]) -> str:
    owners: dict[str, type[BaseModel]] = {"accounts": Account, "providers": Section}
    owner = owners.get(str(loc[0]), Content) if len(loc) > 1 else Content
    near = difflib.get_close_matches(str(loc[-1]), owner.model_fields, n=1)
    known = ", ".join(sorted(owner.model_fields))
    return f"did you mean '{near[0]}'?" if near else f"known: {known}"


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> int:
    """The line of the key at the end of the path, or of the last step that is there."""
    import yaml

    line = 1
    for step in loc:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, inner in node.value:
            if key.value == str(step):
                line, node = key.start_mark.line + 1, inner
                break
        else:
            break
    return line


def _repeated_keys(node: yaml.Node | None, where: str = "") -> list[_Fault]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return []
    faults: list[_Fault] = []
    seen: set[str] = set()
    for key, inner in node.value:
        name = f"{where}{key.value}"
        if name in seen:
            faults.append((key.start_mark.line + 1, f"{name}: is there twice", "keep one of them"))
        seen.add(name)
        faults += _repeated_keys(inner, f"{name}.")
    return faults


def _without_blanks(value: dict[str, Any]) -> dict[str, Any]:
    """An entry whose value was left out (`accounts:` and nothing more) counts as not there."""
    kept = {key: _without_blanks(v) if isinstance(v, dict) else v for key, v in value.items()}
    return {str(key): v for key, v in kept.items() if v is not None}
