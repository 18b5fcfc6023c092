"""Takes secrets out of a text: those we know, and whatever looks like one of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

__all__ = ["HIDDEN", "Redactor"]

HIDDEN = "[redacted]"

#: Shorter values are not looked for: they would be found everywhere.
LEAST_LENGTH = 6

_NAMES = r"(?:\w+[_-])?(?:token|secret|password|passwd|api[_-]?key|guard[_-]?key|cookie)"
_DASH, _IS = r"(?:-|%2[dD])", r"(?:=|%3[dD]|/|%2[fF])"

# Each with what stays. The part of a token that is left when a text was cut counts too: 20 characters, of which at least
# one is none that a name of ours would have.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), kept)
    for pattern, kept, flags in (
        # headers as text, in a mapping, and as pairs of bytes
        (r"((?:proxy-)?authorization\\?['\"]?\s*[:=,]\s*b?\\?['\"]?)(?:[A-Za-z]+\s+)?[^\s'\",;)}\\]+", r"\1", re.I),
        (r"(\bBearer\s+)[A-Za-z0-9._~+/=-]{6,}", r"\1", re.I),
        (r"(\b(?:Basic|Token)\s+)[A-Za-z0-9._~+/=-]{16,}", r"\1", re.I),
        (r"(atlas-bearer\.)[^\s'\",;&]+", r"\1", re.I),
        # grants in URLs, in both forms and any spelling, and by themselves
        (rf"(atlas{_DASH}access{_IS})[^\s'\"&#/?\\]+", r"\1", re.I),
        (r"\b[up]1\.[\w-]{1,32}\.\d{1,12}\.\d{1,12}\.\d{1,12}\.[A-Z]{1,16}\.[xp]\d{0,4}\.[a-]\.[\w-]+\.[\w-]+", "", 0),
        (r"atlas_(?=[a-z_]*[A-Z0-9-])[A-Za-z0-9_-]{20,}", "", 0),
        (r"\bwhs(?:ec|k)_[A-Za-z0-9+/=_-]+", "", 0),
        (r"(://)[^\s/?#'\"@]+@", r"\1", 0),
        # values by the name that stands before them
        (rf"(\b{_NAMES}=['\"]?)[^\s'\"&,;)}}\\]{{4,}}", r"\1", re.I),
        (rf"((\\?['\"]){_NAMES}\2\s*:\s*b?(\\?['\"]))(?:(?!\3)(?:[^\\]|\\.))+", r"\1", re.I),
    )
)


class Redactor:
    """Replaces secrets in texts. `secrets`: values to look for whatever their form, in the usual spellings too."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: frozenset[str] = frozenset()
        self._find: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Look for these as well."""
        spelled = {form for one in secrets if len(one.strip()) >= LEAST_LENGTH for form in _spellings(one.strip())}
        self._known |= spelled
        if self._known:
            longest_first = sorted(self._known, key=lambda one: (-len(one), one))
            self._find = re.compile("|".join(re.escape(one) for one in longest_first))

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._find is not None:
            text = self._find.sub(HIDDEN, text)
        for pattern, kept in _PATTERNS:
            text = pattern.sub(kept + HIDDEN + ("@" if kept and "://" in pattern.pattern else ""), text)
        return text


def _spellings(secret: str) -> set[str]:
    """As it stands, in JSON, in a `repr`, and in a URL."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret, safe=""),
        quote_plus(secret),
    }
