"""What a guard is told: from the environment of its pod, or by hand. All that is wrong with it is said at once."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from atlas_session._canonical import RESERVED, Parts, canonical_path, split
from atlas_session.errors import Malformed
from atlas_session.grants import MAX_LEEWAY_S
from atlas_session.guard._verifier import Verifier, is_hash, url_key
from atlas_session.urls import DEFAULT_LEEWAY_S

__all__ = ["SOURCES", "GuardConfigError", "GuardSettings", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")

#: What may count as activity: a request, a chunk of a body that is being sent up, a message on a WebSocket.
SOURCES = frozenset({"http", "upload", "ws"})

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GUARD_KEY = re.compile(r"[!-~]{16,512}")
_REALM = re.compile(r"[ !#-\[\]-~]{1,64}")
_TRIO = ("ATLAS_SESSION_ID", "ATLAS_COMPANION_URL", "ATLAS_GUARD_KEY")


class GuardConfigError(ValueError):
    """What the guard was told does not do. The text names each variable, with a hint, and never a value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the guard cannot start:\n" + "\n".join([f"- {problem}" for problem in problems]))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class GuardSettings:
    """Everything a guard knows of its pod; the variables are those of SPECIFICATION.md section 8.

    Args:
        token_hashes: Of the tokens that are let in: SHA-256, hex.
        url_keys: Key id → key (32 bytes or more) of signed URLs.
        generation: What signed URLs must be signed for.
        session_id, companion_url, guard_key: Where activity is reported and the verifier asked for: all three or none.
        public_url: Scheme, host and port that visitors use, such as ``https://x.example``. None: taken from the request.
        origins: Of web pages that may use the pod, such as ``https://app.example``; ``*`` for all.
        trusted_proxies: Networks whose ``X-Forwarded-…`` headers are believed.
        public_paths: Paths that need no credential; one that ends with ``/`` covers all below it. ``/`` is refused.
        realm: Stands in ``WWW-Authenticate``.
        leeway_s: How far the signer's clock may differ, 0 to 60 seconds.
        sources: What counts as activity.
        allow_http: Allow a companion over plain http that is not on loopback.

    Raises GuardConfigError, with every problem at once; also when nothing here could verify anybody.
    """

    token_hashes: frozenset[str] = frozenset()
    url_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    generation: int = 0
    session_id: str | None = None
    companion_url: str | None = None
    guard_key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    origins: frozenset[str] = frozenset()
    trusted_proxies: tuple[Network, ...] = ()
    public_paths: tuple[str, ...] = ()
    realm: str = "atlas"
    leeway_s: float = DEFAULT_LEEWAY_S
    sources: frozenset[str] = SOURCES
    allow_http: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise GuardConfigError(problems)
        object.__setattr__(self, "public", None if self.public_url is None else split(self.public_url))

    #: `public_url` taken apart.
    public: Parts | None = field(init=False, repr=False, compare=False, default=None)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> GuardSettings:
        """From the variables ``ATLAS_…``; default: this process's. Raises GuardConfigError."""
        reader = _Reader(os.environ if environ is None else environ)
        values: dict[str, Any] = {
            "token_hashes": frozenset(reader.items("ATLAS_TOKEN_HASHES", _hash)),
            "url_keys": reader.keys("ATLAS_URL_KEYS"),
            "generation": reader.one("ATLAS_GENERATION", _generation, 0),
            "session_id": reader.text("ATLAS_SESSION_ID"),
            "companion_url": reader.text("ATLAS_COMPANION_URL"),
            "guard_key": reader.text("ATLAS_GUARD_KEY"),
            "public_url": reader.text("ATLAS_PUBLIC_URL"),
            "origins": frozenset(reader.items("ATLAS_ORIGINS", _origin)),
            "trusted_proxies": tuple(reader.items("ATLAS_TRUSTED_PROXIES", _network)),
            "public_paths": tuple(reader.items("ATLAS_PUBLIC_PATHS", _public_path)),
            "sources": frozenset(reader.items("ATLAS_ACTIVITY", _source)) or SOURCES,
            "allow_http": reader.text("ATLAS_ALLOW_HTTP") == "1",
        }
        try:
            settings = cls(**values)
        except GuardConfigError as error:
            # What could not be read is empty here, and is no second problem.
            rest = [text for text in error.problems if not (reader.problems and text == _NOBODY)]
            raise GuardConfigError([*reader.problems, *rest]) from None
        if reader.problems:
            raise GuardConfigError(reader.problems)
        return settings

    def verifier(self) -> Verifier:
        """What verifies visitors until the companion says otherwise."""
        return Verifier(self.token_hashes, dict(self.url_keys), self.generation)


_NOBODY = (
    "ATLAS_TOKEN_HASHES, ATLAS_URL_KEYS: nothing here verifies anybody; give one of them, or the three of "
    f"{', '.join(_TRIO)}"
)


class _Reader:
    """Variables as values; notes what is wrong by name and goes on."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def one(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self.text(name)
        return default if text is None else next(iter(self._parsed(name, [text], parse)), default)

    def items(self, name: str, parse: Callable[[str], T]) -> list[T]:
        text = self.text(name)
        return [] if text is None else self._parsed(name, [item.strip() for item in text.split(",")], parse)

    def keys(self, name: str) -> dict[str, bytes]:
        pairs = self.items(name, _url_key)
        if len(dict(pairs)) != len(pairs):
            self.problems.append(f"{name}: a key id is given twice")
        return dict(pairs)

    def _parsed(self, name: str, items: list[str], parse: Callable[[str], T]) -> list[T]:
        found = []
        for place, item in enumerate(items, 1):
            try:
                found.append(parse(item))
            except ValueError as error:
                self.problems.append(f"{name}: item {place}: {error}")
        return found


def _hash(text: str) -> str:
    if not is_hash(text):
        raise ValueError("a token's hash has 64 characters of lower-case hex")
    return text


def _url_key(text: str) -> tuple[str, bytes]:
    kid, colon, key = text.partition(":")
    if not colon:
        raise ValueError("expected is kid:key, with the key in base64url")
    return url_key(kid, key)


def _generation(text: str) -> int:
    if re.fullmatch(r"0|[1-9][0-9]{0,11}", text) is None:
        raise ValueError("a generation is a whole number, 0 or more")
    return int(text)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("expected is a network such as 10.0.0.0/8, or an address") from None


def _source(text: str) -> str:
    if text not in SOURCES:
        raise ValueError(f"expected is one of {', '.join(sorted(SOURCES))}")
    return text


def _origin(text: str) -> str:
    """An origin as browsers write it: in lower case, without the scheme's own port."""
    if text in ("*", "null"):
        return text
    parts = _bare(text, ("http", "https"))
    return f"{parts.scheme}://{parts.netloc}"


def _public_path(text: str) -> str:
    try:
        canonical = canonical_path(text)
    except Malformed as error:
        raise ValueError(f"not a path: {error.detail}") from None
    if canonical != text:
        raise ValueError("write it in its canonical spelling: nothing encoded that need not be")
    if text.lower() == f"/{RESERVED}" or text.lower().startswith(f"/{RESERVED}/"):
        raise ValueError(f"what begins with /{RESERVED} is the guard's own")
    if text == "/":
        raise ValueError("this would open everything to everybody; name the paths, or put no guard before the program")
    return text


def _bare(text: str, schemes: tuple[str, ...]) -> Parts:
    """A URL of scheme, host and port alone. Raises ValueError."""
    try:
        parts = split(text)
    except Malformed as error:
        raise ValueError(f"not a URL: {error.detail}") from None
    if parts.scheme not in schemes or parts.path != "/" or parts.query or text.endswith("/"):
        raise ValueError(f"expected is {' or '.join(schemes)}://host or …://host:port, and nothing after it")
    return parts


def _problems(settings: GuardSettings) -> list[str]:
    """Everything that is wrong with the values."""
    found = [*_each(settings), *_companion_problems(settings)]
    trio = (settings.session_id, settings.companion_url, settings.guard_key)
    if not settings.token_hashes and not settings.url_keys and None in trio:
        found.append(_NOBODY)
    if not 0 <= settings.leeway_s <= MAX_LEEWAY_S:
        found.append(f"leeway_s: 0 to {MAX_LEEWAY_S} seconds are allowed")
    if _REALM.fullmatch(settings.realm) is None:
        found.append("realm: 1 to 64 printable characters without quotation marks and backslashes")
    return found


def _each(settings: GuardSettings) -> list[str]:
    """As `from_env` checks its texts, for values that were given by hand."""
    reader = _Reader({})
    reader._parsed("ATLAS_TOKEN_HASHES", sorted(map(str, settings.token_hashes)), _hash)
    reader._parsed("ATLAS_ORIGINS", sorted(settings.origins), _exact_origin)
    reader._parsed("ATLAS_PUBLIC_PATHS", list(settings.public_paths), _public_path)
    reader._parsed("ATLAS_ACTIVITY", sorted(settings.sources), _source)
    reader._parsed("ATLAS_GENERATION", [str(settings.generation)], _generation)
    if settings.public_url is not None:
        reader._parsed("ATLAS_PUBLIC_URL", [settings.public_url], lambda text: _bare(text, ("http", "https")))
    for kid, key in settings.url_keys.items():
        reader._parsed("ATLAS_URL_KEYS", [kid], lambda text, key=key: _check_key(text, key))  # type: ignore[misc]
    return reader.problems


def _exact_origin(text: str) -> str:
    if _origin(text) != text:
        raise ValueError("write it as browsers do: in lower case, without the scheme's own port")
    return text


def _check_key(kid: str, key: Any) -> None:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", kid) is None or not isinstance(key, bytes) or len(key) < 32:
        raise ValueError("a key id of 1 to 32 letters, digits, dashes or underscores, and a key of 32 bytes or more")


def _companion_problems(settings: GuardSettings) -> list[str]:
    trio = dict(zip(_TRIO, (settings.session_id, settings.companion_url, settings.guard_key), strict=True))
    missing = [name for name, value in trio.items() if value is None]
    if len(missing) == len(trio):
        return []
    found = [f"{name}: missing; a companion needs all of {', '.join(_TRIO)}" for name in missing]
    if settings.session_id is not None and _SESSION_ID.fullmatch(settings.session_id) is None:
        found.append("ATLAS_SESSION_ID: 1 to 64 letters, digits, dashes, underscores")
    if settings.guard_key is not None and _GUARD_KEY.fullmatch(settings.guard_key) is None:
        found.append("ATLAS_GUARD_KEY: 16 to 512 printable characters without spaces")
    if settings.companion_url is not None:
        found += _companion_url_problems(settings.companion_url, allow_http=settings.allow_http)
    return found


def _companion_url_problems(url: str, *, allow_http: bool) -> list[str]:
    try:
        parts = split(url)
    except Malformed as error:
        return [f"ATLAS_COMPANION_URL: not a URL: {error.detail}"]
    if parts.scheme not in ("http", "https") or parts.query:
        return ["ATLAS_COMPANION_URL: expected is https://host, with a path if need be, and no query"]
    if parts.scheme == "http" and not _is_loopback(parts.host) and not allow_http:
        return ["ATLAS_COMPANION_URL: http would show the guard key to the network; use https, or ATLAS_ALLOW_HTTP=1"]
    return []


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
