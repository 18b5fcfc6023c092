"""One spelling for each URL: what means the same is written the same, and what could be read in two ways is refused.

Equivalent by RFC 3986 section 6.2.2 are the case of scheme, host and hexadecimal digits, and unreserved characters with or
without percent-encoding; nothing else is taken as equal. Sub-delimiters (``;``, ``+``, ``=`` …) and their encoded forms are
different: servers read them differently. Refused are: dot segments, also encoded or before a ``;``; empty segments; encoded
slashes, backslashes and control characters; what is not UTF-8; backslashes, fragments, user names, malformed hosts.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from atlas_session.errors import Malformed

__all__ = ["MAX_URL", "RESERVED", "Parts", "canonical_path", "canonical_query", "netloc_of", "split", "take_reserved"]

#: The one query parameter, and the one first path segment, that are ours.
RESERVED = "atlas-access"

#: Longer URLs are refused before anything is made of them.
MAX_URL = 8192

#: The longest host, 253 characters, with a colon and a port behind it.
MAX_NETLOC = 259

_RESERVED_NAME = f"{RESERVED}="
_RESERVED_SEGMENT = f"/{RESERVED}"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# Printable ASCII without spaces, controls, the backslash and the fragment: first without / and ?, then without ?, then all.
_URL = re.compile(r'([A-Za-z]{2,5})://([!"$-.0->@-\[\]-~]*)(/[!"$->@-\[\]-~]*)?(?:\?([!"$-\[\]-~]*))?')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_NETLOC = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{{0,4}}))?")

# Nothing in these needs a second look, and most paths and queries are so.
_PAIR = r"[A-Za-z0-9._~-]+(?:=[A-Za-z0-9._~-]*)?"
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?|/")
_PLAIN_QUERY = re.compile(rf"{_PAIR}(?:&{_PAIR})*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/%-]")
_IN_QUERY = re.compile(r"[^A-Za-z0-9._~%-]")


class Parts(NamedTuple):
    """A URL taken apart: scheme and host in lower case, port always there, path and query as given."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def netloc(self) -> str:
        """Host, and port where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


def split(url: object) -> Parts:
    """An absolute URL of http, https, ws or wss. Raises Malformed."""
    found = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= MAX_URL else None
    if found is None:
        raise Malformed("no absolute URL, too long, or with a fragment or characters that a URL cannot hold")
    scheme, authority, path, query = found.groups()
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise Malformed("the scheme is none of http, https, ws, wss")
    host, port = netloc_of(authority, _PORTS[scheme])
    return Parts(scheme, host, port, path or "/", query or "")


@functools.lru_cache(maxsize=1024)
def netloc_of(text: str, default_port: int) -> tuple[str, int]:
    """Host in lower case, and port, of a ``Host`` header or a URL's authority. Raises Malformed."""
    found = _NETLOC.fullmatch(text) if len(text) <= MAX_NETLOC else None
    if found is None:
        raise Malformed("the host is malformed")
    host, digits = found.groups()
    port = int(digits) if digits else default_port
    if port > 65535:
        raise Malformed("the port is beyond 65535")
    return (_ipv6(host) if host[0] == "[" else host.lower()), port


def _ipv6(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise Malformed("the host is malformed") from None
    if address.ipv4_mapped is not None:  # Python 3.13 would write this one with dots
        return f"[::ffff:{int(address) >> 16 & 0xFFFF:x}:{int(address) & 0xFFFF:x}]"
    return f"[{address}]"


def canonical_path(path: str) -> str:
    """The path in its one spelling, beginning with a slash. Raises Malformed for what could be read in two ways.

    Among that are paths that begin with our own segment, ``/atlas-access``: a grant there was not looked at.
    """
    whole = _clean_path(path)
    if whole.startswith(_RESERVED_SEGMENT) and whole[len(_RESERVED_SEGMENT) :][:1] in ("", "/"):
        raise Malformed("the path begins with the reserved segment")
    return whole


def _clean_path(path: str) -> str:
    if _PLAIN_PATH.fullmatch(path) is not None:
        return path
    if not path.startswith("/") or "//" in path:
        raise Malformed("the path does not begin with one slash, or holds an empty segment")
    whole = _escapes(_IN_PATH.sub(_encode, path), "/\\.")
    if any(segment.partition(";")[0] in (".", "..") for segment in whole.split("/")):
        raise Malformed("the path holds a dot segment")
    return whole


def canonical_query(query: str, *, form: bool = False) -> str:
    """The query with its parameters sorted by name; those of one name keep their order. Raises Malformed.

    ``a`` and ``a=`` are different, and empty parameters are refused. Characters that servers read in two ways (``+``, ``;``,
    a second ``=``) are refused; with `form`, when a signer writes a query anew, they are first taken as forms do and encoded.
    """
    if not query:
        return ""
    if _PLAIN_QUERY.fullmatch(query) is None:
        query = "&".join([_canonical_pair(pair, form=form) for pair in query.split("&")])
    pairs = query.split("&")
    names = [pair.partition("=")[0] for pair in pairs]
    return query if names == sorted(names) else "&".join(sorted(pairs, key=_name))


def _canonical_pair(pair: str, *, form: bool) -> str:
    if not pair:
        raise Malformed("the query holds an empty parameter")
    name, equals, value = pair.partition("=")
    parts = [name.replace("+", "%20"), value.replace("+", "%20")] if form else [name, value]
    if form:
        parts = [_IN_QUERY.sub(_encode, part) for part in parts]
    elif any(_IN_QUERY.search(part) for part in parts):
        raise Malformed("the query holds a character that must be encoded")
    name, value = (_escapes(part, "") for part in parts)
    return name + equals + value


def _name(pair: str) -> str:
    return pair.partition("=")[0]


def take_reserved(query: str) -> tuple[str | None, str]:
    """The value of our parameter and the query without it, otherwise untouched.

    Any spelling of its name counts as its name, so that no reader downstream finds one that was not looked at. Raises
    Malformed when it is there twice or in another spelling, and when an empty parameter is beside it.
    """
    if "%" not in query and RESERVED not in query.lower():
        return None, query
    before, found, value = query.rpartition(_RESERVED_NAME)
    if found and "&" not in value:  # last, as a signer puts it
        rest = before[:-1]
        if not before or (before[-1] == "&" and _PLAIN_QUERY.fullmatch(rest) and RESERVED not in rest.lower()):
            return value, rest
    pairs = query.split("&")
    ours = [pair for pair in pairs if _is_reserved(pair)]
    if not ours:
        return None, query
    if len(ours) > 1 or not ours[0].startswith(_RESERVED_NAME):
        raise Malformed("the reserved parameter is given twice, or spelled in another way")
    if "" in pairs:
        raise Malformed("the query holds an empty parameter")
    pairs.remove(ours[0])
    return ours[0].removeprefix(_RESERVED_NAME), "&".join(pairs)


def _is_reserved(pair: str) -> bool:
    name = _name(pair)
    if "%" in name:
        name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "%", name)
    return name.lower() == RESERVED


def _encode(found: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")])


def _escapes(text: str, refused: str) -> str:
    """Percent-encodings in one spelling. Raises Malformed for broken ones, controls, what is not UTF-8, and `refused`."""
    if "%" not in text:
        return text

    def one(found: re.Match[str]) -> str:
        if found[1] is None:
            raise Malformed("a percent sign without two hexadecimal digits")
        character = chr(int(found[1], 16))
        if character == "\0" or (refused and (character in refused or character < " " or character == "\x7f")):
            raise Malformed("an encoded character that is not allowed")
        return character if character in _UNRESERVED else found[0].upper()

    clean = _ESCAPE.sub(one, text)
    try:
        unquote_to_bytes(clean).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the encoded bytes are not UTF-8") from None
    return clean
