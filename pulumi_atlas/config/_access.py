"""Which provider, and with which key: the first place that says something counts."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pulumi_atlas.access import Access
from pulumi_atlas.config._settings import Profile, Settings, state_dir
from pulumi_atlas.config._stack import stack_key
from pulumi_atlas.errors import ConfigError, Unauthorized

__all__ = ["choose_provider", "key_fingerprint", "resolve_access"]

PROVIDER_VARIABLE = "ATLAS_PROVIDER"

#: A key, and in words where it came from. The key is None when the place says nothing.
_Found = tuple[str | None, str]


def choose_provider(
    call: str | None,
    stack: str | None,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    account: str | None = None,
) -> str:
    """The provider's name: from the call, the named account's profile, the stack, atlas.yaml, or ATLAS_PROVIDER.

    Raises ConfigError naming these ways out when none says it. Whether there is such a provider is not asked here.
    """
    profile = settings.accounts.get(account) if account else None
    places = (call, profile.provider if profile else None, stack, settings.provider, environ.get(PROVIDER_VARIABLE))
    for name in places:
        if name is not None and name.strip():
            return name.strip()
    file = str(settings.file) if settings.file else "atlas.yaml"
    raise ConfigError(
        "no provider is chosen",
        hint=f'say provider="local" (on the command line --provider local; or another), run'
        " `pulumi config set atlas:provider local`, write `provider: local`"
        f" into {file}, or set {PROVIDER_VARIABLE}",
    )


def resolve_access(
    provider: str,
    *,
    account: str | None = None,
    key_variable: str | None,
    api_key: str | None = None,
    stack_config: Mapping[str, str] | None = None,
    stack_secret_names: frozenset[str] | None = None,
    settings: Settings,
    environ: Mapping[str, str],
) -> Access:
    """What the provider is made from. `key_variable` is the environment variable of its key; None: it needs no key.

    The key is the first that is not empty: the call's `api_key`; the key that the named account's profile points at; the
    stack secret ``atlas:<provider>ApiKey``; the provider's section in atlas.yaml; the environment variable. A profile
    that points at a key which is not there is an error and never falls back, for another key is another account.

    Raises ConfigError for an unknown account or one of another provider, for a stack key in clear (when
    `stack_secret_names` is given), and for a malformed key; Unauthorized when a key is needed and nowhere found.
    """
    section = settings.providers.get(provider) or Profile(provider)
    profile = _profile(provider, account, settings)
    key, source = None, ""
    if key_variable is not None:
        key, source = _key(
            provider, account, profile, section, key_variable, api_key, stack_config or {}, stack_secret_names, environ
        )
        if key is None:
            raise _no_key(provider, key_variable, settings)
    return Access(
        provider=provider,
        account=account or None,
        key=key,
        key_source=source,
        base_url=(profile.base_url if profile else None) or section.base_url,
        settings=MappingProxyType({**section.settings, **(profile.settings if profile else {})}),
        environ=environ,
        state_dir=state_dir(environ, settings),
    )


def key_fingerprint(key: str) -> str:
    """Eight hexadecimal digits that tell two keys apart and do not give either away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _key(
    provider: str,
    account: str | None,
    profile: Profile | None,
    section: Profile,
    variable: str,
    api_key: str | None,
    stack_config: Mapping[str, str],
    secret_names: frozenset[str] | None,
    environ: Mapping[str, str],
) -> _Found:
    def places() -> Iterator[_Found]:
        yield api_key, "the argument api_key"
        if profile is not None and profile.names_a_key:
            yield _required(profile, f"account '{account}'", provider, environ)
        yield _from_stack(provider, stack_config, secret_names)
        yield _from_profile(section, f"providers.{provider}", environ)
        yield environ.get(variable), f"the environment variable {variable}"

    for text, source in places():
        if text is not None and text.strip():
            return _well_formed(text.strip(), source, provider), source
    return None, ""


def _profile(provider: str, account: str | None, settings: Settings) -> Profile | None:
    if not account:
        return None
    file = settings.file or "atlas.yaml"
    profile = settings.accounts.get(account)
    if profile is None:
        near = difflib.get_close_matches(account, settings.accounts, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        known = ", ".join(sorted(settings.accounts)) or "none"
        raise ConfigError(
            f"there is no account '{account}'",
            provider=provider,
            hint=f"{guess}accounts in {file}: {known}",
        )
    if profile.provider != provider:
        raise ConfigError(
            f"account '{account}' is one of {profile.provider}, not of {provider}",
            provider=provider,
            hint=f'say provider="{profile.provider}", or name another account; both are in {file}',
        )
    return profile


def _from_stack(provider: str, stack_config: Mapping[str, str], secret_names: frozenset[str] | None) -> _Found:
    name = stack_key(provider)
    text = stack_config.get(name)
    if text and secret_names is not None and name not in secret_names:
        raise ConfigError(
            f"{name} stands in clear in the stack's configuration",
            provider=provider,
            hint=f"`pulumi config set --secret {name}` replaces it; change the key too, for the file may have been shared",
        )
    return text, f"the stack secret {name}"


def _required(profile: Profile, words: str, provider: str, environ: Mapping[str, str]) -> _Found:
    text, source = _from_profile(profile, words, environ)
    if text is None or not text.strip():
        raise Unauthorized(
            f"{words} has no key: {source} is missing or empty",
            provider=provider,
            hint="put the key there, or leave account= out to use the default key",
        )
    return text, source


def _from_profile(profile: Profile, words: str, environ: Mapping[str, str]) -> _Found:
    if profile.api_key_env:
        return environ.get(
            profile.api_key_env
        ), f"the environment variable {profile.api_key_env} ({words} in atlas.yaml)"
    if profile.api_key_file:
        return _file_text(profile.api_key_file), f"the file {profile.api_key_file} ({words} in atlas.yaml)"
    return profile.api_key, f"{words} in atlas.yaml"


def _file_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read the key file {path}: {why}", hint="check its permissions and content") from None


def _well_formed(key: str, source: str, provider: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"the key from {source} holds line breaks or characters that no key has",
            provider=provider,
            hint="copy the key again, and nothing but the key",
        )
    return key


def _no_key(provider: str, variable: str, settings: Settings) -> Unauthorized:
    file = str(settings.file) if settings.file else "atlas.yaml"
    return Unauthorized(
        f"there is no key for {provider}",
        provider=provider,
        hint=f"run `pulumi config set --secret {stack_key(provider)}`, or set {variable}, or write"
        f" `providers: {{{provider}: {{api_key_file: …}}}}` into {file}, or name an account of it with account=",
    )
