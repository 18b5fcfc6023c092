"""What the application and every log may see: the request without its credential."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

from atlas_session._canonical import RESERVED
from atlas_session.guard._credentials import TOKEN_INSIDE, without_bearers

__all__ = ["HEALTH_PATH", "HIDDEN_PATH", "STRIPPED", "readable_path", "spellings", "stripped"]

#: Stands for a path that may hold a credential.
HIDDEN_PATH = f"/{RESERVED}"
#: Answered by the guard itself, without a credential.
HEALTH_PATH = f"/{RESERVED}/health"
#: Frameworks that honour these serve another path than the request's, or another method.
_ELSEWHERE = frozenset(
    {
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-script-name",
    }
)
#: Headers that may hold a credential (proxies write the whole address into some of those that lead elsewhere), and
#: ``Proxy``, which programs started as CGI take for the setting HTTP_PROXY.
STRIPPED = _ELSEWHERE | {"authorization", "proxy", "referer", "sec-websocket-protocol"}

_GRANT_INSIDE = re.compile(r"[up]1(?:\.[A-Za-z0-9_-]{1,32}){8}\.[A-Za-z0-9_-]{43}")


def spellings(name: str) -> list[str]:
    """The name with its dashes as underscores, some or all: programs behind CGI or WSGI cannot tell them apart."""
    return [
        "".join(parts) for parts in itertools.product(*[("-", "_") if letter == "-" else letter for letter in name])
    ]


def stripped(name: str, value: str, *, bound: bool = False) -> str | None:
    """The value that the application may see of a header in `STRIPPED` (`name` in lower case); None for none of it.

    `bound`: this path and method are all that is allowed.
    """
    if name == "proxy" or (bound and name in _ELSEWHERE):
        return None
    if name == "authorization":
        return None if TOKEN_INSIDE.search(value) else value
    if name == "sec-websocket-protocol":
        return ",".join(without_bearers(value.split(","))).strip(" \t") or None
    return None if _mentions_credential(value) else value


def readable_path(path: str) -> str:
    """The path for a log: as it is, unless it may hold a credential."""
    return HIDDEN_PATH if path != HEALTH_PATH and _mentions_credential(path) else path


def _mentions_credential(text: str) -> bool:
    for _ in range(3):
        lowered = text.lower()
        if RESERVED in lowered or ("atlas_" in lowered and TOKEN_INSIDE.search(text)) or _GRANT_INSIDE.search(text):
            return True
        if "%" not in text:
            return False
        text = unquote(text)
    return "%" in text  # encoded over and over: nobody needs to read it
