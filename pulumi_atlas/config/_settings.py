"""What atlas.yaml says, and where things are kept."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pulumi_atlas.errors import ConfigError

if TYPE_CHECKING:
    from pulumi_atlas.config._file import Section

__all__ = ["FILE_NAME", "Profile", "Settings", "file_text", "find_file", "load", "readable_by_others", "state_dir"]

FILE_NAME = "atlas.yaml"
FILE_VARIABLE = "ATLAS_CONFIG"
STATE_VARIABLE = "ATLAS_STATE_DIR"

_log = logging.getLogger("pulumi_atlas.config")


@dataclass(frozen=True)
class Profile:
    """How one account is reached. At most one of the three key fields is set; the key itself never appears in `repr`."""

    provider: str
    api_key_env: str | None = None
    api_key_file: Path | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names_a_key(self) -> bool:
        """Whether the profile says where its key is."""
        return bool(self.api_key_env or self.api_key_file or self.api_key)


@dataclass(frozen=True)
class Settings:
    """What atlas.yaml says, with what the environment decides about it.

    `state_dir` is absolute, and not made yet; `file` is None when there is no atlas.yaml; `warnings` are sentences for
    the user about keys that others can read.
    """

    state_dir: Path
    provider: str | None = None
    accounts: Mapping[str, Profile] = field(default_factory=dict)
    providers: Mapping[str, Profile] = field(default_factory=dict)
    file: Path | None = None
    warnings: tuple[str, ...] = ()


def load(*, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read atlas.yaml: the file that ATLAS_CONFIG names, else the nearest one from `cwd` upward.

    Raises ConfigError with file, line and key when it is wrong. Without a file all settings have their defaults.
    """
    env = os.environ if environ is None else environ
    here = (cwd or Path.cwd()).absolute()
    path = find_file(cwd=here, environ=env)
    if path is None:
        return Settings(_state_dir(env, None, here))
    from pulumi_atlas.config._file import parse  # here, because it costs more than the rest of this package

    content = parse(file_text(path), path)
    accounts = {name: _profile(a.provider, a, path, env) for name, a in content.accounts.items()}
    providers = {name: _profile(name, section, path, env) for name, section in content.providers.items()}
    warnings = _warnings(path, [*accounts.values(), *providers.values()])
    for warning in warnings:
        _log.warning("%s", warning)
    written = _path(content.state_dir, path.parent, env) if content.state_dir else None
    return Settings(
        state_dir=_state_dir(env, written, here),
        provider=content.provider,
        accounts=MappingProxyType(accounts),
        providers=MappingProxyType(providers),
        file=path,
        warnings=warnings,
    )


def find_file(*, cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """The atlas.yaml that counts: ATLAS_CONFIG, else the nearest from `cwd` upward, not above a git checkout or the home.

    Raises ConfigError when ATLAS_CONFIG names no file, or when the one found belongs to a stranger: such a file could
    send keys to an address of its own.
    """
    named = _filled(environ.get(FILE_VARIABLE))
    if named:
        path = _path(named, cwd, environ)
        if not path.is_file():
            raise ConfigError(
                f"{FILE_VARIABLE} names {path}, and there is no such file", hint=f"mend or unset {FILE_VARIABLE}"
            )
        return path
    home = _home(environ)
    for folder in (cwd, *cwd.parents):
        path = folder / FILE_NAME
        if path.is_file():
            _refuse_strangers(path, cwd)
            return path
        if folder == home or (folder / ".git").exists():
            break
    return None


def state_dir(environ: Mapping[str, str], settings: Settings) -> Path:
    """The folder of intents and the like: ATLAS_STATE_DIR, else what the settings say. Absolute; not made here."""
    named = _filled(environ.get(STATE_VARIABLE))
    return _path(named, Path.cwd(), environ) if named else settings.state_dir


def readable_by_others(path: Path) -> bool:
    """Whether people other than the owner may read the file."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _state_dir(environ: Mapping[str, str], written: Path | None, cwd: Path) -> Path:
    named = _filled(environ.get(STATE_VARIABLE))
    if named:
        return _path(named, cwd, environ)
    return written or _default_state_dir(environ)


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    """As platformdirs says, but by the environment that was passed in."""
    base, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if base.startswith("/"):
        return Path(base) / "pulumi_atlas"
    if sys.platform == "linux" and home.startswith("/"):
        return Path(home) / ".local" / "state" / "pulumi_atlas"
    import platformdirs

    return Path(platformdirs.user_state_dir("pulumi_atlas"))


def _profile(provider: str, section: Section, file: Path, environ: Mapping[str, str]) -> Profile:
    return Profile(
        provider=provider,
        api_key_env=section.api_key_env,
        api_key_file=_path(section.api_key_file, file.parent, environ) if section.api_key_file else None,
        api_key=section.api_key.get_secret_value() if section.api_key else None,
        base_url=section.base_url,
        settings=MappingProxyType(dict(section.settings)),
    )


def _warnings(path: Path, profiles: list[Profile]) -> tuple[str, ...]:
    exposed = [path] if any(profile.api_key for profile in profiles) else []
    exposed += sorted({profile.api_key_file for profile in profiles if profile.api_key_file})
    return tuple(
        f"{file} holds a key and can be read by others: run `chmod 600 {file}`"
        for file in exposed
        if readable_by_others(file)
    )


def _refuse_strangers(path: Path, cwd: Path) -> None:
    try:
        trusted = {0, os.getuid(), cwd.stat().st_uid}
        if path.stat().st_uid in trusted:
            return
    except OSError as error:
        raise ConfigError(f"cannot look at {path}: {error.strerror or error}", hint="check its permissions") from error
    raise ConfigError(
        f"{path} belongs to another user, so it is not trusted",
        hint=f"if it is right, name it: {FILE_VARIABLE}={path}; else remove it, or work in a folder of your own",
    )


def file_text(path: Path) -> str:
    """What the file holds. Raises ConfigError when it cannot be read, or is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}", hint="check its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error


def _path(text: str, base: Path, environ: Mapping[str, str]) -> Path:
    """`text` as an absolute path, relative to `base`; `~` is the home of that environment."""
    home = _home(environ)
    if home is not None and (text == "~" or text.startswith("~/")):
        return home / text[2:]
    return Path(os.path.normpath(base.absolute() / text))


def _home(environ: Mapping[str, str]) -> Path | None:
    home = _filled(environ.get("HOME"))
    return Path(home) if home else None


def _filled(text: str | None) -> str | None:
    return text.strip() or None if text is not None else None
