"""A WSGI environment as facts, and the environment without its credential, changed in place: servers log from the same one."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from atlas_session.guard._decide import Admitted
from atlas_session.guard._facts import LOOKED_AT, Facts
from atlas_session.guard._stripping import STRIPPED, readable_path, stripped

__all__ = ["Environ", "admit", "facts_of", "hide"]

Environ = dict[str, Any]

_RAW = ("RAW_URI", "REQUEST_URI")
_KEYS = {f"HTTP_{name.upper().replace('-', '_')}": name for name in LOOKED_AT}
_STRIPPED = {f"HTTP_{name.upper().replace('-', '_')}": name for name in STRIPPED}
_PATH_SAFE = "/!$&'()*+,;=:@-._~"
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def facts_of(environ: Environ) -> Facts:
    """What the decision rests on. A header that was sent twice is one here, with a comma in it; that is no one's Host."""
    return Facts(
        method=environ.get("REQUEST_METHOD", ""),
        path=_path(environ),
        query=environ.get("QUERY_STRING") or "",
        headers={name: [environ[key]] for key, name in _KEYS.items() if key in environ},
        scheme=environ.get("wsgi.url_scheme") or "http",
        peer=environ.get("REMOTE_ADDR") or None,
    )


def _path(environ: Environ) -> str:
    """As the visitor wrote it, where the server tells; otherwise built anew from what it decoded.

    Built anew, an encoded ``;`` and a plain one (and the other sub-delimiters) cannot be told apart: a URL that was
    signed with the encoded one is refused.
    """
    decoded = _as_bytes(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    for key in _RAW:
        raw = (environ.get(key) or "").partition("?")[0].partition("#")[0]
        own = _ABSOLUTE.sub("", raw, count=1) if "://" in raw[:8] else raw
        if own and unquote_to_bytes(_as_bytes(own)) == decoded:  # otherwise the application would see another
            return raw
    return quote_from_bytes(decoded, _PATH_SAFE)


def _as_bytes(text: str) -> bytes:
    """PEP 3333: each character stands for one byte."""
    return text.encode("latin-1", "replace")


def admit(environ: Environ, admitted: Admitted, facts: Facts) -> bool:
    """Shows the application path and query without the grant. False when the path is not below ``SCRIPT_NAME``."""
    if admitted.path is not None:
        decoded = unquote_to_bytes(admitted.path).decode("latin-1")
        script = environ.get("SCRIPT_NAME", "")
        rest = decoded.removeprefix(script)
        if not decoded.startswith(script) or (rest and not rest.startswith("/")):
            return False
        environ["PATH_INFO"] = rest
    if admitted.path is not None or admitted.query != facts.query:
        _set_target(environ, admitted.path or facts.path, admitted.query)
    _strip(environ, bound=admitted.is_bound)
    environ["atlas.access"] = {"how": admitted.how, "grant": admitted.grant, "address": admitted.address}
    return True


def hide(environ: Environ, facts: Facts) -> None:
    """For a request that goes no further: the server may still log it."""
    path = readable_path(facts.path)
    if path != facts.path:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "", path
    _set_target(environ, path, "")
    _strip(environ, bound=False)


def _set_target(environ: Environ, path: str, query: str) -> None:
    environ["QUERY_STRING"] = query
    for key in _RAW:
        if key in environ:
            environ[key] = f"{path}?{query}" if query else path


def _strip(environ: Environ, *, bound: bool) -> None:
    for key, name in _STRIPPED.items():
        if key in environ:
            value = stripped(name, environ[key], bound=bound)
            if value is None:
                del environ[key]
            else:
                environ[key] = value
