"""Our spelling of paths and queries beside that of Signature Version 4, as botocore computes it.

The cases are those of the AWS signature version 4 test suite, as facts. Where the two must agree they do; where we differ, the
table says how and why.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from atlas_session import CannotSign
from atlas_session._canonical import canonical_path, canonical_query, netloc_of, split
from atlas_session.errors import Malformed
from tests.unit.session._signing import KEY

THEIRS: Any = SigV4Auth(Credentials("id", "secret"), "service", "us-east-1")

#: Names and values as an application has them. `get-vanilla-query-*`, `get-utf8`, `get-space`, `post-vanilla-query*`.
AGREED_PARAMETERS = {
    "get-vanilla": [],
    "get-vanilla-query": [("Param1", "value1")],
    "get-vanilla-empty-query-key": [("Param1", "")],
    "get-vanilla-query-order-key": [("Param2", "value2"), ("Param1", "value1")],
    "get-vanilla-query-order-key-case": [("Param2", "value2"), ("param1", "value1"), ("Param1", "value1")],
    "get-vanilla-query-order-value": [("Param1", "value1"), ("Param1", "value2")],
    "get-header-value-multiline": [("a", "1\n2")],
    "get-vanilla-query-unreserved": [("-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",) * 2],
    "get-vanilla-utf8-query": [("ሴ", "bar")],
    "post-vanilla-query-nonunreserved": [("@#$%^", "+"), ('/,?><`";:\\|][{}', "")],
    "post-vanilla-query-space": [("p", "a b"), ("f oo", "b ar")],
    "a plus and a percent sign": [("a", "1+2"), ("b", "100%"), ("c", "%2F")],
    "an equals sign in a value": [("a", "b=c==")],
    "four bytes of UTF-8": [("k", "\U0001f600")],
    "names that are beginnings of each other": [("a-", "1"), ("a", "2"), ("a.b", "3")],
}


def _written(parameters: list[tuple[str, str]]) -> str:
    """As a program that escapes nothing but the separators would write it into a URL."""
    escape = {"%": "%25", "&": "%26", "+": "%2B", "=": "%3D", "#": "%23", "\n": "%0A"}
    return "&".join("=".join("".join(escape.get(c, c) for c in text) for text in pair) for pair in parameters)


@pytest.mark.parametrize("name", AGREED_PARAMETERS)
def test_a_signer_writes_the_query_that_botocore_writes(name: str) -> None:
    parameters = AGREED_PARAMETERS[name]
    expected = THEIRS._canonical_query_string_params(parameters)
    assert canonical_query(_written(parameters), form=True) == expected
    assert (
        canonical_query(expected) == expected == THEIRS._canonical_query_string_url(urlsplit(f"https://h/?{expected}"))
    )


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), unique_by=lambda pair: pair[0]))
def test_distinct_names_give_what_botocore_gives(parameters: list[tuple[str, str]]) -> None:
    parameters = [(name, value) for name, value in parameters if _encodes(name + value) and "\0" not in name + value]
    assert canonical_query(_written(parameters), form=True) == THEIRS._canonical_query_string_params(parameters)


def _encodes(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


#: Query → what botocore makes of it, what we do, why.
DIFFERENT_QUERIES: dict[str, tuple[str, str | None, str]] = {
    "a=2&a=1": ("a=1&a=2", "a=2&a=1", "the order of one name's values has a meaning for many applications"),
    "a": ("a=", "a", "some applications tell a name without a value from an empty value"),
    "a&a=": ("a=&a=", "a&a=", "the same"),
    "b=1&&a=2": ("=&a=2&b=1", None, "servers drop empty parameters, or do not"),
    "a=b=c": ("a=b=c", None, "a second equals sign is read in two ways; a signer encodes it"),
    "a=x+y": ("a=x+y", None, "a plus is a space, or a plus"),
    "a=1;b=2": ("a=1;b=2", None, "a semicolon separates, or does not"),
    "a=%2f": ("a=%2f", "a=%2F", "hexadecimal digits in both cases are the same"),
    "%61=1": ("%61=1", "a=1", "unreserved characters are the same when encoded"),
    "a=%": ("a=%", None, "a broken escape is read in several ways"),
    "a=%C3": ("a=%C3", None, "what is not UTF-8 is read in several ways"),
    "a=%00": ("a=%00", None, "a text ends at NUL, or does not"),
    "%7A=1&b=2": (
        "%7A=1&b=2",
        "b=2&z=1",
        "sorted after the treatment of escapes: the order of what is sent does not matter",
    ),
    'a="': ('a="', None, "it must be encoded; a signer does so"),
}


@pytest.mark.parametrize("query", DIFFERENT_QUERIES)
def test_where_we_differ_about_queries(query: str) -> None:
    theirs, ours, why = DIFFERENT_QUERIES[query]
    assert THEIRS._canonical_query_string_url(urlsplit(f"https://h/?{query}")) == theirs
    assert _or_none(canonical_query, query) == ours, why
    assert ours != theirs


#: Paths of the suite on which both agree.
AGREED_PATHS = {
    "get-slash": "/",
    "get-unreserved": "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "get-utf8": "/ሴ",
    "get-space": "/example space/",
    "a folder": "/a/b/",
    "three dots": "/.../a..b",
    "brackets and quotes": '/[a]{b}"<c>^`|',
}


@pytest.mark.parametrize("name", AGREED_PATHS)
def test_paths_are_written_as_botocore_writes_them(name: str) -> None:
    path = AGREED_PATHS[name]
    assert canonical_path(path) == THEIRS._normalize_url_path(path)


#: Path → what botocore makes of it, what we do, why.
DIFFERENT_PATHS: dict[str, tuple[str, str | None, str]] = {
    "/example/..": ("/", None, "get-relative: who resolves it, the proxy or the application, and when?"),
    "/example1/example2/../..": ("/", None, "get-relative-relative: the same"),
    "/./": ("/", None, "get-slash-dot-slash: the same"),
    "/./example": ("/example", None, "get-slash-pointless-dot: the same"),
    "//": ("/", None, "get-slashes: some servers merge them, others do not, and // begins a host"),
    "//example//": ("/example/", None, "get-slashes: the same"),
    "/a/../../b": ("/b", None, "above the root"),
    "": ("/", None, "a path begins with a slash; `split` gives one to a URL without a path"),
    "/a%20b": ("/a%2520b", "/a%20b", "services other than S3 encode twice; we encode once"),
    "/a%2Fb": ("/a%252Fb", None, "an encoded slash is decoded by some servers"),
    "/a+b": ("/a%2Bb", "/a+b", "sub-delimiters stay as the client wrote them, and differ from their encoded form"),
    "/a;b=c,d": ("/a%3Bb%3Dc%2Cd", "/a;b=c,d", "the same"),
    "/a:b@c": ("/a%3Ab%40c", "/a:b@c", "the same"),
    "/!$&'()*": ("/%21%24%26%27%28%29%2A", "/!$&'()*", "the same"),
    "/a\\b": ("/a%5Cb", None, "some servers take it for a slash"),
    "/%2e%2e/b": ("/%252e%252e/b", None, "dots in another spelling"),
    "/..;x/b": ("/..%3Bx/b", None, "dots for servers that drop what is behind a semicolon"),
}


@pytest.mark.parametrize("path", DIFFERENT_PATHS)
def test_where_we_differ_about_paths(path: str) -> None:
    theirs, ours, why = DIFFERENT_PATHS[path]
    assert THEIRS._normalize_url_path(path) == theirs
    assert _or_none(canonical_path, path) == ours, why
    assert ours != theirs


@pytest.mark.parametrize(
    ("url", "netloc"),
    [
        ("https://Example.COM/", "example.com"),
        ("https://example.com:443/", "example.com"),
        ("http://example.com:80/", "example.com"),
        ("http://example.com:443/", "example.com:443"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2001:DB8::1]:443/", "[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
    ],
)
def test_hosts_are_written_as_botocore_writes_them(url: str, netloc: str) -> None:
    request = AWSRequest("GET", url)
    assert split(url).netloc == THEIRS.headers_to_sign(request)["host"] == netloc


def test_where_we_differ_about_hosts() -> None:
    assert THEIRS.headers_to_sign(AWSRequest("GET", "https://me:pw@example.com/"))["host"] == "example.com"
    with pytest.raises(Malformed):
        split("https://me:pw@example.com/")  # a user name hides which host is meant
    with pytest.raises(Malformed):
        netloc_of("example.com.", 443)  # one host, two spellings


def test_the_signer_and_botocore_see_the_same_parameters_in_a_whole_url() -> None:
    """End to end: what botocore presigns and what we sign hold the same application's parameters, in the same order."""
    from atlas_session import sign_url

    url = "https://example.com/a%20b?prefix=some/path&marker=a+b&empty="
    request = AWSRequest("GET", url)
    S3SigV4QueryAuth(Credentials("id", "secret"), "s3", "us-east-1", expires=60).add_auth(request)
    theirs = [pair for pair in parse_qsl(urlsplit(request.url).query, True) if not pair[0].startswith("X-Amz")]
    ours = parse_qsl(urlsplit(sign_url(url, key=KEY, kid="k1", expires_in_s=60)).query, True)[:-1]
    assert sorted(theirs) == ours


def test_a_signer_refuses_what_a_verifier_would_refuse() -> None:
    from atlas_session import sign_url

    for path in (path for path, (_, ours, _) in DIFFERENT_PATHS.items() if ours is None and path):
        with pytest.raises(CannotSign):
            sign_url(f"https://example.com{path}", key=KEY, kid="k1", expires_in_s=60)


def _or_none(function: Any, text: str) -> str | None:
    try:
        return str(function(text))
    except Malformed:
        return None
