"""URLs that can be signed, and what to sign them with."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

NOW = 1_767_225_600

SCHEMES = st.sampled_from(["http", "https", "ws", "wss"])
LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=3).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
ENCODABLE = st.characters(codec="utf-8", exclude_characters="\0")

_SAFE_IN_SEGMENT = "!$&'()*+,;=:@"
SEGMENTS = (
    st.text(st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="/\\\x7f"), min_size=1, max_size=8)
    .filter(lambda text: text.partition(";")[0] not in (".", ".."))
    .map(lambda text: quote(text, safe=_SAFE_IN_SEGMENT))
)
FOLDERS = (
    st.lists(SEGMENTS, max_size=3)
    .filter(lambda parts: parts[:1] != ["atlas-access"])
    .map(lambda parts: "/" + "".join(f"{part}/" for part in parts))
)
PATHS = st.builds(lambda folder, last: folder + last, FOLDERS, st.one_of(st.just(""), SEGMENTS)).filter(
    lambda path: not f"{path}/".startswith("/atlas-access/")
)

NAMES = st.one_of(st.sampled_from(["a", "b", "a-", "B"]), st.text(ENCODABLE, min_size=1, max_size=6)).filter(
    lambda name: name.lower() != "atlas-access"
)
PAIRS = st.tuples(NAMES, st.one_of(st.none(), st.text(ENCODABLE, max_size=6)))
QUERIES = st.lists(PAIRS, max_size=5)

KIDS = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
KEYS = st.binary(min_size=32, max_size=48)
METHODS = st.from_regex(r"[A-Z]{1,16}", fullmatch=True)
GENERATIONS = st.integers(0, 10**12 - 1)
ADDRESSES = st.ip_addresses().map(str)


def written(pairs: list[tuple[str, str | None]]) -> str:
    """A query, every character but the unreserved ones encoded."""
    one = lambda text: quote(text, safe="")  # noqa: E731
    return "&".join(one(name) if value is None else f"{one(name)}={one(value)}" for name, value in pairs)


def joined(scheme: str, host: str, port: str, path: str, pairs: list[tuple[str, str | None]]) -> str:
    query = written(pairs)
    return f"{scheme}://{host}{port}{path}" + (f"?{query}" if query else "")


URLS = st.builds(joined, SCHEMES, HOSTS, PORTS, PATHS, QUERIES)

#: Arguments of `sign_url`, without the URL and the address.
OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "key": KEYS,
        "kid": KIDS,
        "expires_in_s": st.integers(1, 604_800),
        "method": METHODS,
        "not_before": st.integers(1_000, 10**12 - 1 - 7 * 86_400),
        "generation": GENERATIONS,
    }
)

#: Anything that a program may hand over by mistake, or a visitor on purpose.
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(max_codepoint=0x7F)),
    st.text(st.characters(categories=["Cs"]), min_size=1),
    st.binary(),
    st.lists(st.text()),
    st.builds(object),
)
