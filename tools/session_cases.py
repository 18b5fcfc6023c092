"""Cases of verification for vectors.json: each URL with what a verifier must say, written here by hand and not computed.

`session_vectors.py` checks that atlas_session says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atlas_session.grants import sign
from atlas_session.urls import sign_path, sign_url

Case = dict[str, Any]

KEY, OLD, SHORT = bytes(range(32)), bytes(range(64, 104)), b"too short"
KEYS = {"k1": KEY, "old": OLD, "short": SHORT}
NOW = 1_767_225_600
NONCE = "AAECAwQFBgcICQoL"

BASE = "https://pod.example/files/a.bin?x=1&y=2"
SIMPLE = "https://pod.example/a"


def signed(url: str = SIMPLE, **changes: Any) -> str:
    """The URL, signed with the first key for ten minutes, or with the changes given."""
    return sign_url(url, **{"key": KEY, "kid": "k1", "expires_in_s": 600, "now": NOW, "generation": 3, **changes})


def in_path(url: str = "https://pod.example/hls/a.m3u8", **changes: Any) -> str:
    return sign_path(url, **{"key": KEY, "kid": "k1", "expires_in_s": 600, "now": NOW, "generation": 3, **changes})


def forged(text: str, *, path: str = "/a", query: str = "", key: bytes = KEY, network: str = "") -> str:
    """A grant with a right signature over a text that no signer would write."""
    return f"{text}.{sign(key, text, 'https', 'pod.example', 443, path, query, network)}"


def with_grant(grant: str, url: str = SIMPLE) -> str:
    return f"{url}{'&' if '?' in url else '?'}atlas-access={grant}"


def grant_of(url: str) -> str:
    return url.rpartition("atlas-access=")[2]


def case(
    name: str, url: str, result: str, *, form: str = "url", allowed: tuple[str, str] = ("/a", ""), **changes: Any
) -> Case:
    """One case. `allowed`: path and query of the answer, when it is ``ok``."""
    one: Case = {"name": name, "form": form, "url": url, "method": "GET", "generation": 3, "address": None, "now": NOW}
    one |= {"leeway_s": 5, "memory": None}
    prefix = changes.pop("prefix", None)
    one |= changes
    one["result"] = result
    if result == "ok":
        one |= {"path": allowed[0], "query": allowed[1], "prefix": prefix}
    return one


def all_cases() -> list[Case]:
    """Every case, in the order of SPECIFICATION.md."""
    parts = (spellings, queries, paths, hosts, reserved, grants, changed, times, bindings, prefixes, path_form, limits)
    cases = [one for part in parts for one in part()]
    names = [one["name"] for one in cases]
    if len(set(names)) != len(names):
        raise ValueError(f"two cases of one name: {sorted(name for name in names if names.count(name) > 1)}")
    return cases


def spellings() -> Iterator[Case]:
    """Equal spellings of one URL that was signed once."""
    grant = grant_of(signed(BASE))
    ok = ("/files/a.bin", "x=1&y=2")
    yield case("as it was signed", f"{BASE}&atlas-access={grant}", "ok", allowed=ok)
    yield case(
        "scheme and host in capitals", f"HTTPS://POD.Example/files/a.bin?x=1&y=2&atlas-access={grant}", "ok", allowed=ok
    )
    yield case(
        "the scheme's own port", f"https://pod.example:443/files/a.bin?x=1&y=2&atlas-access={grant}", "ok", allowed=ok
    )
    yield case(
        "unreserved characters encoded",
        f"https://pod.example/fi%6Ces/a.bin?%78=%31&y=2&atlas-access={grant}",
        "ok",
        allowed=("/files/a.bin", "%78=%31&y=2"),
    )
    yield case(
        "lower-case hexadecimal digits",
        f"https://pod.example/%66iles/a.bin?x=1&y=2&atlas-access={grant}",
        "ok",
        allowed=ok,
    )
    yield case("the grant first", f"https://pod.example/files/a.bin?atlas-access={grant}&x=1&y=2", "ok", allowed=ok)
    yield case(
        "the grant in the middle", f"https://pod.example/files/a.bin?x=1&atlas-access={grant}&y=2", "ok", allowed=ok
    )
    yield case(
        "parameters in another order",
        f"https://pod.example/files/a.bin?y=2&x=1&atlas-access={grant}",
        "ok",
        allowed=("/files/a.bin", "y=2&x=1"),
    )
    yield case(
        "no path",
        f"https://pod.example?atlas-access={grant_of(signed('https://pod.example/'))}",
        "ok",
        allowed=("/", ""),
    )
    yield case(
        "characters beyond ASCII",
        signed("https://pod.example/ü b?q=é +"),
        "ok",
        allowed=("/%C3%BC%20b", "q=%C3%A9%20%20"),
    )
    yield case(
        "characters beyond ASCII, lower-case digits",
        signed("https://pod.example/ü").replace("%C3%BC", "%c3%bc"),
        "ok",
        allowed=("/%C3%BC", ""),
    )
    yield case(
        "brackets raw, signed encoded",
        signed("https://pod.example/a[1]").replace("%5B1%5D", "[1]"),
        "ok",
        allowed=("/a%5B1%5D", ""),
    )
    yield case("not ASCII", signed("https://pod.example/ü").replace("%C3%BC", "ü"), "malformed")
    yield case("a space", signed("https://pod.example/a b").replace("%20", " "), "malformed")
    yield case("a line feed at the end", signed() + "\n", "malformed")
    yield case("a tab in the host", signed().replace("pod", "p\tod"), "malformed")
    yield case("half a character", signed() + "\ud800", "malformed")
    yield case("empty", "", "malformed")
    yield case("no scheme", signed().removeprefix("https:"), "malformed")
    yield case("path and query only", signed().removeprefix("https://pod.example"), "malformed")
    yield case("another scheme", signed().replace("https", "ftp"), "malformed")
    yield case("one slash", signed().replace("https://", "https:/"), "malformed")
    yield case("a user name", signed().replace("pod.", "me@pod."), "malformed")
    yield case("a fragment", signed() + "#top", "malformed")
    yield case("an empty fragment", signed() + "#", "malformed")
    long = "x=" + "a" * (8192 - len(signed("https://pod.example/?x=")))
    url = signed(f"https://pod.example/?{long}")
    yield case(f"{len(url)} characters", url, "ok", allowed=("/", long))
    yield case(f"{len(url) + 1} characters", url.replace("x=", "x=a"), "malformed")


def queries() -> Iterator[Case]:
    """What a query may hold."""
    twice = signed("https://pod.example/a?t=1&t=2&b=")
    yield case("a name twice", twice, "ok", allowed=("/a", "b=&t=1&t=2"))
    yield case("a name twice, other order", twice.replace("t=1&t=2", "t=2&t=1"), "bad_signature")
    yield case("a name twice, one removed", twice.replace("t=1&", ""), "bad_signature")
    yield case(
        "a name twice, another between", twice.replace("b=&t=1&t=2", "t=1&b=&t=2"), "ok", allowed=("/a", "t=1&b=&t=2")
    )
    yield case("a name three times", twice.replace("t=1&", "t=1&t=1&"), "bad_signature")
    yield case("an empty value without its sign", twice.replace("b=", "b"), "bad_signature")
    bare = signed("https://pod.example/a?b")
    yield case("a name without a value", bare, "ok", allowed=("/a", "b"))
    yield case("a name without a value, with a sign", bare.replace("?b", "?b="), "bad_signature")
    yield case(
        "sorted by name, not by pair", signed("https://pod.example/a?a-=1&a=2"), "ok", allowed=("/a", "a=2&a-=1")
    )
    yield case(
        "capitals sort before small letters", signed("https://pod.example/a?b=1&B=2"), "ok", allowed=("/a", "B=2&b=1")
    )
    yield case("the case of a name", signed("https://pod.example/a?b=1").replace("?b", "?B"), "bad_signature")
    yield case(
        "sorted after the treatment of escapes",
        signed("https://pod.example/a?~=1&%61=2"),
        "ok",
        allowed=("/a", "a=2&~=1"),
    )
    space = signed("https://pod.example/a?q=x+y")
    yield case("a plus as a space", space, "ok", allowed=("/a", "q=x%20y"))
    yield case("a raw plus", space.replace("%20", "+"), "malformed")
    yield case("a plus instead of a space, encoded", space.replace("%20", "%2B"), "bad_signature")
    yield case("a raw semicolon", signed("https://pod.example/a?q=x;y").replace("%3B", ";"), "malformed")
    yield case("an encoded semicolon", signed("https://pod.example/a?q=x;y=2"), "ok", allowed=("/a", "q=x%3By%3D2"))
    yield case("a second equals sign", signed("https://pod.example/a?q=x=y").replace("%3D", "="), "malformed")
    yield case("a raw slash", signed("https://pod.example/a?q=/b").replace("%2F", "/"), "malformed")
    yield case("a raw question mark", signed("https://pod.example/a?q=?").replace("%3F", "?"), "malformed")
    yield case(
        "lower-case digits in a query",
        signed("https://pod.example/a?q=/b").replace("%2F", "%2f"),
        "ok",
        allowed=("/a", "q=%2fb"),
    )
    yield case("encoded twice", signed("https://pod.example/a?q=%2Fb").replace("%2F", "%252F"), "bad_signature")
    yield case("a broken escape", signed("https://pod.example/a?q=%20").replace("%20", "%2"), "malformed")
    yield case("an escape of no number", signed("https://pod.example/a?q=%20").replace("%20", "%zz"), "malformed")
    yield case("an escape of NUL in a query", signed("https://pod.example/a?q=%20").replace("%20", "%00"), "malformed")
    yield case(
        "an escape of a control character in a query",
        signed("https://pod.example/a?q=%0d%0A%7f"),
        "ok",
        allowed=("/a", "q=%0D%0A%7F"),
    )
    yield case("not UTF-8 in a query", signed("https://pod.example/a?q=%C3%A9").replace("%C3%A9", "%E9"), "malformed")
    yield case("half a pair in UTF-8", signed("https://pod.example/a?q=%20").replace("%20", "%ED%A0%80"), "malformed")
    yield case("an overlong slash", signed("https://pod.example/a?q=%20").replace("%20", "%C0%AF"), "malformed")
    yield case(
        "UTF-8 over two parameters",
        signed("https://pod.example/a?q=1&r=2").replace("q=1&r=2", "q=%C3&%A9=2"),
        "malformed",
    )
    yield case("an empty parameter at the end", signed() + "&", "malformed")
    yield case("an empty parameter first", signed().replace("?", "?&"), "malformed")
    yield case("an empty parameter between", signed(BASE).replace("&y", "&&y"), "malformed")
    yield case("an empty name", signed("https://pod.example/a?=1"), "ok", allowed=("/a", "=1"))
    yield case("a name that is only a sign", signed("https://pod.example/a?="), "ok", allowed=("/a", "="))
    yield case("a quotation mark in a query", signed('https://pod.example/a?q="').replace("%22", '"'), "malformed")


def paths() -> Iterator[Case]:
    """What a path may hold."""
    yield case("a path and the same with a slash", signed().replace("/a?", "/a/?"), "bad_signature")
    yield case("the case of a path", signed().replace("/a?", "/A?"), "bad_signature")
    yield case("a segment more", signed().replace("/a?", "/a/b?"), "bad_signature")
    for dots in ("..", ".", "%2e%2e", "%2E.", ".%2e", "%2e", "..;x", ".;", "%2E%2e;x=1", "b/..", "b/./c"):
        yield case(f"a dot segment: {dots}", signed().replace("/a?", f"/a/{dots}?"), "malformed")
        yield case(f"a dot segment inside: {dots}", signed().replace("/a?", f"/{dots}/a?"), "malformed")
    yield case("three dots", signed("https://pod.example/.../a"), "ok", allowed=("/.../a", ""))
    yield case(
        "a name with a dot first", signed("https://pod.example/.well-known/x"), "ok", allowed=("/.well-known/x", "")
    )
    yield case("an encoded dot in a name", signed("https://pod.example/a.b").replace("a.b", "a%2Eb"), "malformed")
    yield case("an empty segment", signed().replace("/a?", "//a?"), "malformed")
    yield case("an empty segment at the end", signed().replace("/a?", "/a//?"), "malformed")
    for escape in (
        "%2f",
        "%2F",
        "%5c",
        "%5C",
        "%00",
        "%0a",
        "%1F",
        "%7f",
        "%",
        "%4x",
        "%g1",
        "%C3",
        "%C0%AF",
        "%ED%A0%80",
        "%FF",
    ):
        yield case(f"in a path: {escape}", signed().replace("/a?", f"/a{escape}b?"), "malformed")
    yield case("a backslash", signed().replace("/a?", "/a\\b?"), "malformed")
    yield case("a backslash instead of the slash", signed().replace("/a?", "\\a?"), "malformed")
    for raw, encoded in (
        ("+", "%2B"),
        (";", "%3B"),
        ("=", "%3D"),
        (":", "%3A"),
        ("@", "%40"),
        ("&", "%26"),
        ("!", "%21"),
    ):
        one = signed(f"https://pod.example/a{raw}b")
        yield case(f"{raw} in a path", one, "ok", allowed=(f"/a{raw}b", ""))
        yield case(f"{raw} in a path, encoded by another", one.replace(f"a{raw}b", f"a{encoded}b"), "bad_signature")
    yield case("an encoded semicolon in a path", signed("https://pod.example/a%3b"), "ok", allowed=("/a%3B", ""))
    yield case(
        "a percent sign encoded twice", signed("https://pod.example/a%20b").replace("%20", "%2520"), "bad_signature"
    )
    yield case(
        "an encoded question mark", signed("https://pod.example/a?b=1").replace("a?b=1&", "a%3Fb=1?"), "bad_signature"
    )


def hosts() -> Iterator[Case]:
    """Scheme, host and port."""
    yield case("http for https", signed().replace("https", "http"), "bad_signature")
    yield case(
        "http with the port of https",
        signed().replace("https://pod.example", "http://pod.example:443"),
        "bad_signature",
    )
    yield case("wss for https", signed().replace("https", "wss"), "bad_signature")
    yield case("wss", signed("wss://pod.example/a"), "ok")
    yield case("ws with its own port", signed("ws://pod.example/a").replace("example", "example:80"), "ok")
    yield case("http for ws", signed("ws://pod.example/a").replace("ws:", "http:"), "bad_signature")
    yield case("another host", signed().replace("pod.", "pod2."), "bad_signature")
    yield case("a host below it", signed().replace("pod.", "x.pod."), "bad_signature")
    yield case("another port", signed().replace("example", "example:8443"), "bad_signature")
    yield case("a port of its own", signed("https://pod.example:8443/a"), "ok")
    yield case(
        "a port of its own, left out", signed("https://pod.example:8443/a").replace(":8443", ""), "bad_signature"
    )
    for port in ("0443", "0", "65536", "443a", "", "-1", "999999"):
        yield case(f"a malformed port: {port or 'none'}", signed().replace("example", f"example:{port}"), "malformed")
    for host in (
        "pod.example.",
        ".pod.example",
        "pod..example",
        "-pod.example",
        "pod-.example",
        "pod.ex%61mple",
        "",
        "pod.example,x",
        "pod*.example",
        "[::1",
        "::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "[1.2.3.4]",
        "[:::1]",
        "p" * 260,
    ):
        yield case(f"a malformed host: {host[:20] or 'none'}", signed().replace("pod.example", host), "malformed")
    yield case("a host with underscores and digits", signed("https://_my-pod_1.0/a"), "ok")
    yield case("an IPv4 host", signed("http://192.0.2.7:8000/a"), "ok")
    yield case("an IPv6 host", signed("https://[2001:db8::1]:8443/a"), "ok")
    yield case(
        "an IPv6 host in its long form",
        signed("https://[2001:db8::1]/a").replace("[2001:db8::1]", "[2001:0DB8:0:0:0:0:0:1]"),
        "ok",
    )
    yield case("another IPv6 host", signed("https://[2001:db8::1]/a").replace("::1]", "::2]"), "bad_signature")
    yield case("IPv4 in IPv6 with dots", signed("https://[::ffff:c000:207]/a").replace("c000:207", "192.0.2.7"), "ok")
    yield case(
        "IPv4 in IPv6 for IPv4",
        signed("https://192.0.2.7/a").replace("192.0.2.7", "[::ffff:192.0.2.7]"),
        "bad_signature",
    )


def reserved() -> Iterator[Case]:
    """Where the grant is found, and where it must not be."""
    good, other = signed(BASE), grant_of(signed())
    yield case("no grant", BASE, "malformed")
    yield case("no query", SIMPLE, "malformed")
    yield case("an empty grant", f"{SIMPLE}?atlas-access=", "malformed")
    yield case("a grant without a sign", f"{SIMPLE}?atlas-access", "malformed")
    yield case("the grant twice", f"{good}&atlas-access={grant_of(good)}", "malformed")
    yield case("two grants", good.replace("?", f"?atlas-access={other}&"), "malformed")
    yield case("an empty one before the grant", good.replace("?", "?atlas-access=&"), "malformed")
    yield case("a bare one before the grant", good.replace("?", "?atlas-access&"), "malformed")
    for name in (
        "%61tlas-access",
        "atlas%2Daccess",
        "atlas%2daccess",
        "ATLAS-ACCESS",
        "Atlas-Access",
        "%41tlas-access",
    ):
        yield case(f"only as {name}", good.replace("atlas-access", name), "malformed")
        yield case(f"also as {name}", good.replace("?", f"?{name}=1&"), "malformed")
    yield case("also bare and encoded", good + "&%61tlas-access", "malformed")
    names = ("atlas-access2", "xatlas-access", "atlas_access", "atlas-access.")
    for name in names:
        yield case(
            f"a name near it: {name}", signed(f"https://pod.example/a?{name}=1"), "ok", allowed=("/a", f"{name}=1")
        )
    yield case(
        "its name in a value", signed("https://pod.example/a?q=atlas-access"), "ok", allowed=("/a", "q=atlas-access")
    )
    yield case(
        "its name encoded twice",
        signed("https://pod.example/a?%2561tlas-access=1"),
        "ok",
        allowed=("/a", "%2561tlas-access=1"),
    )
    yield case("behind a semicolon", good.replace("&atlas-access", ";atlas-access"), "malformed")
    yield case("an encoded ampersand before it", good.replace("&atlas-access", "%26atlas-access"), "malformed")
    yield case(
        "the reserved first segment",
        with_grant(forged(f"u1.k1.{NOW + 9}.{NOW}.3.GET.p1.-.-", path="/"), "https://pod.example/atlas-access/x"),
        "malformed",
    )
    yield case(
        "the reserved first segment, encoded",
        with_grant(forged(f"u1.k1.{NOW + 9}.{NOW}.3.GET.p1.-.-", path="/"), "https://pod.example/atlas%2daccess"),
        "malformed",
    )
    yield case(
        "the reserved segment further in",
        signed("https://pod.example/x/atlas-access/a"),
        "ok",
        allowed=("/x/atlas-access/a", ""),
    )


def grants() -> Iterator[Case]:
    """The text of the grant. Those called *signed so* have a right signature."""
    text = f"u1.k1.{NOW + 600}.{NOW}.3.GET.x.-.-"
    good = forged(text)
    head, signature = good[:-43], good[-43:]
    yield case("a grant as by hand", with_grant(good), "ok")
    for name, wrong in {
        "an encoded dot": good.replace(".", "%2E", 1),
        "a padded signature": good + "=",
        "a signature that is cut": good[:-1],
        "a signature with one character more": good + "A",
        "no signature": head,
        "a signature in hexadecimal": head + "0" * 64,
        "a signature with plus and slash": head + "+/" + signature[2:],
        "an encoded character in the signature": f"{head}%{ord(signature[0]):02X}{signature[1:]}",
        "a field more": f"{text}.-.{signature}",
        "a field less": f"{text.removesuffix('.-')}.{signature}",
        "commas": good.replace(".", ","),
        "a space before": "%20" + good,
    }.items():
        yield case(f"form: {name}", with_grant(wrong), "malformed")
    last = "AEIMQUYcgkosw048".index(signature[-1])
    tail = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last * 4 + 1]
    yield case("another spelling of the last character", with_grant(good[:-1] + tail), "bad_signature")
    yield case(
        "first character of the signature",
        with_grant(head + ("A" if signature[0] != "A" else "B") + signature[1:]),
        "bad_signature",
    )
    yield case("signature of zeros", with_grant(head + "A" * 43), "bad_signature")
    yield case("signature of ones", with_grant(head + "_" * 42 + "8"), "bad_signature")
    yield case("signature in other case", with_grant(head + signature.swapcase()), "bad_signature")
    for name, wrong in {
        "another tag": text.replace("u1", "u2"),
        "a tag in capitals": text.replace("u1", "U1"),
        "the tag of the path form": text.replace("u1", "p1"),
        "no tag": text.removeprefix("u1."),
        "an algorithm": text.replace("u1", "none"),
        "an empty kid": text.replace("k1", ""),
        "a kid of 33": text.replace("k1", "k" * 33),
        "a kid with a tilde": text.replace("k1", "k~1"),
        "expires with a leading zero": text.replace(f".{NOW + 600}", f".0{NOW + 600}"),
        "expires 0": text.replace(f"{NOW + 600}", "0"),
        "no expires": text.replace(f"{NOW + 600}", ""),
        "expires below zero": text.replace(f"{NOW + 600}", "-1"),
        "expires with a fraction": text.replace(f".{NOW + 600}.", ".1e9."),
        "expires of 13 digits": text.replace(f"{NOW + 600}", "1767226200000"),
        "not before with a leading zero": text.replace(f".{NOW}.", f".0{NOW}."),
        "not before 0": text.replace(f".{NOW}.", ".0."),
        "generation with a leading zero": text.replace(".3.", ".03."),
        "generation with a sign": text.replace(".3.", ".%2B3."),
        "no generation": text.replace(".3.", ".."),
        "a method in small letters": text.replace("GET", "get"),
        "no method": text.replace("GET", ""),
        "a method of 17": text.replace("GET", "G" * 17),
        "any method": text.replace("GET", "*"),
        "scope p0": text.replace(".x.", ".p0."),
        "scope p01": text.replace(".x.", ".p01."),
        "scope p": text.replace(".x.", ".p."),
        "scope p of five digits": text.replace(".x.", ".p10000."),
        "scope X": text.replace(".x.", ".X."),
        "another address": text.replace(".-.-", ".b.-"),
        "a nonce of 15": text.replace(".-.-", f".-.{NONCE[1:]}"),
        "a nonce of 17": text.replace(".-.-", f".-.{NONCE}A"),
        "no nonce": text.removesuffix("-"),
    }.items():
        yield case(f"signed so: {name}", with_grant(forged(wrong)), "malformed")
    yield case("signed so: a long life", with_grant(forged(f"u1.k1.{NOW + 604_801}.{NOW}.3.GET.x.-.-")), "malformed")
    yield case("signed so: the longest life", with_grant(forged(f"u1.k1.{NOW + 604_800}.{NOW}.3.GET.x.-.-")), "ok")
    yield case("signed so: no life", with_grant(forged(f"u1.k1.{NOW}.{NOW}.3.GET.x.-.-")), "malformed")
    yield case(
        "signed so: ends before it begins", with_grant(forged(f"u1.k1.{NOW}.{NOW + 1}.3.GET.x.-.-")), "malformed"
    )
    yield case(
        "a long life that nobody signed",
        with_grant(f"u1.k1.{NOW + 604_801}.{NOW}.3.GET.x.-.-.{'A' * 43}"),
        "bad_signature",
    )
    yield case("another key", signed(kid="old", key=OLD), "ok")
    yield case("another key's id", with_grant(good.replace("k1", "old")), "bad_signature")
    yield case("signed with another key", with_grant(forged(text, key=OLD)), "bad_signature")
    yield case("a key id that is not known", signed(kid="k2"), "unknown_key")
    yield case("a key that is too short", with_grant(forged(text.replace("k1", "short"), key=SHORT)), "unknown_key")
    yield case(
        "a key id that is not known, and a bad prefix",
        with_grant(good.replace("k1", "k2").replace(".x.", ".p99.")),
        "unknown_key",
    )
    yield case("kids in another case", signed(kid="K1"), "unknown_key")


def changed() -> Iterator[Case]:
    """One claim changed without a new signature: bad_signature, whatever the claim would lead to."""
    good = signed(BASE)
    for name, old, new in (
        ("expires", f"{NOW + 600}", f"{NOW + 601}"),
        ("expires long ago", f"{NOW + 600}", f"{NOW - 600}"),
        ("not before", f".{NOW}.", f".{NOW - 1}."),
        ("generation", ".3.GET", ".4.GET"),
        ("method", "GET", "POST"),
        ("scope", ".x.", ".p7."),
        ("address", ".x.-.", ".x.a."),
        ("nonce", ".-.-.", f".-.{NONCE}."),
    ):
        yield case(f"changed: {name}", good.replace(old, new), "bad_signature", address="192.0.2.7")
    yield case("changed: parameter", good.replace("x=1", "x=2"), "bad_signature")
    yield case("changed: parameter added", good.replace("?", "?a=1&"), "bad_signature")
    yield case("changed: parameter added behind", good + "&z=1", "bad_signature")
    yield case("changed: parameter removed", good.replace("x=1&", ""), "bad_signature")
    yield case("changed: parameter doubled", good.replace("x=1", "x=1&x=1"), "bad_signature")
    yield case("changed: names and values exchanged", good.replace("x=1&y=2", "x=2&y=1"), "bad_signature")


def times() -> Iterator[Case]:
    """The edges of time."""
    one = signed(not_before=NOW + 100)
    begin, end = NOW + 100, NOW + 700
    yield case("now: at the beginning", one, "ok", now=begin)
    yield case("now: a leeway before the beginning", one, "ok", now=begin - 5)
    yield case("now: more than a leeway before", one, "not_yet_valid", now=begin - 6)
    yield case("now: a little more than a leeway before", one, "not_yet_valid", now=begin - 5.25)
    yield case("now: before, no leeway", one, "not_yet_valid", now=begin - 1, leeway_s=0)
    yield case("now: at the beginning, no leeway", one, "ok", now=begin, leeway_s=0)
    yield case("now: a second before the end", one, "ok", now=end - 1, leeway_s=0)
    yield case("now: at the end, no leeway", one, "expired", now=end, leeway_s=0)
    yield case("now: at the end", one, "ok", now=end)
    yield case("now: just within the leeway", one, "ok", now=end + 4.75)
    yield case("now: a leeway after the end", one, "expired", now=end + 5)
    yield case("now: a leeway of 60", one, "ok", now=end + 59, leeway_s=60)
    yield case("now: a leeway beyond 60 is 60", one, "expired", now=end + 60, leeway_s=3600)
    yield case("now: a leeway below 0 is 0", one, "ok", now=end - 1, leeway_s=-60)
    yield case("now: years later", one, "expired", now=end + 10**9)
    yield case("now: 0", one, "not_yet_valid", now=0)
    yield case("expired, and the signature is wrong", one[:-43] + "A" * 43, "bad_signature", now=end + 10**6)
    yield case("expired, and of another generation", one, "revoked", now=end + 10**6, generation=4)
    yield case("expired, and another method", one, "expired", now=end + 10**6, method="POST")
    yield case("early, and another method", one, "not_yet_valid", now=0, method="POST")


def bindings() -> Iterator[Case]:
    """Generation, method, address, and use once."""
    yield case("a later generation", signed(), "revoked", generation=4)
    yield case("an earlier generation", signed(), "revoked", generation=2)
    yield case("generation 0", signed(generation=0), "ok", generation=0)
    yield case("another generation and another method", signed(), "revoked", generation=4, method="POST")
    for method in ("HEAD", "GET"):
        yield case(f"signed GET, asked {method}", signed(), "ok", method=method)
    for method in ("POST", "OPTIONS", "get", "", "GET ", "DELETE", "head"):
        yield case(f"signed GET, asked {method!r}", signed(), "wrong_method", method=method)
    yield case("signed POST, asked POST", signed(method="POST"), "ok", method="POST")
    yield case("signed POST, asked GET", signed(method="POST"), "wrong_method")
    yield case("signed POST, asked HEAD", signed(method="POST"), "wrong_method", method="HEAD")
    yield case("signed HEAD, asked HEAD", signed(method="HEAD"), "ok", method="HEAD")
    yield case("signed HEAD, asked GET", signed(method="HEAD"), "wrong_method")
    four, six = signed(address="192.0.2.7"), signed(address="2001:db8:0:1::5")
    yield case("the address", four, "ok", address="192.0.2.7")
    yield case("the address in IPv6 form", four, "ok", address="::ffff:192.0.2.7")
    yield case("the address in IPv6 form, hexadecimal", four, "ok", address="::FFFF:c000:207")
    yield case("another address", four, "bad_signature", address="192.0.2.8")
    yield case("an IPv6 address for IPv4", four, "bad_signature", address="2001:db8::1")
    for address in (None, "", "unknown", "192.0.2.07", "192.0.2.7:443", "192.0.2.7/32", " 192.0.2.7", "192.0.2"):
        yield case(f"no address: {address!r}", four, "bad_signature", address=address)
    yield case("an IPv6 address", six, "ok", address="2001:db8:0:1::5")
    yield case("an IPv6 address of the same /64", six, "ok", address="2001:DB8:0:1:ffff::1")
    yield case("an IPv6 address of another /64", six, "bad_signature", address="2001:db8:0:2::5")
    yield case("an IPv6 address with a zone", six, "bad_signature", address="2001:db8:0:1::5%eth0")
    nobody = with_grant(forged(f"u1.k1.{NOW + 600}.{NOW}.3.GET.x.a.-"))
    yield case("signed so: bound to nothing", nobody, "bad_signature")
    yield case("signed so: bound to nothing, asked from somewhere", nobody, "bad_signature", address="192.0.2.7")
    yield case("not bound, any address", signed(), "ok", address="198.51.100.1")
    once = with_grant(forged(f"u1.k1.{NOW + 600}.{NOW}.3.GET.x.-.{NONCE}"))
    yield case("once, and not seen", once, "ok", memory=[])
    yield case("once, and seen", once, "already_used", memory=[NONCE])
    yield case("once, and another seen", once, "ok", memory=[NONCE[::-1]])
    yield case("once, without a memory", once, "already_used")
    yield case("once, seen, and another method", once, "wrong_method", memory=[NONCE], method="POST")
    yield case("not once, with a memory", signed(), "ok", memory=[NONCE])


def prefixes() -> Iterator[Case]:
    """Scope p in the URL form."""
    folder = signed("https://pod.example/files/", prefix=True)
    to = lambda path: folder.replace("/files/?", f"{path}?")  # noqa: E731
    below = "/files/"
    yield case("prefix: itself", folder, "ok", allowed=("/files/", ""), prefix=below)
    yield case("prefix: below it", to("/files/a/b.bin"), "ok", allowed=("/files/a/b.bin", ""), prefix=below)
    yield case(
        "prefix: with a query",
        to("/files/a") + "&q=1;2&r=%zz+",
        "ok",
        allowed=("/files/a", "q=1;2&r=%zz+"),
        prefix=below,
    )
    yield case("prefix: with an empty parameter", to("/files/a") + "&&q=1", "malformed")
    yield case("prefix: equal in another spelling", to("/%66iles/a%7e"), "ok", allowed=("/files/a~", ""), prefix=below)
    yield case("prefix: the name without the slash", to("/files"), "bad_signature")
    yield case("prefix: a neighbour", to("/files2/a"), "bad_signature")
    yield case("prefix: above", to("/"), "bad_signature")
    yield case("prefix: another folder of the same length", to("/filez/a"), "bad_signature")
    yield case("prefix: out by dots", to("/files/../b"), "malformed")
    yield case("prefix: out by encoded dots", to("/files/%2e%2e/b"), "malformed")
    yield case("prefix: an encoded slash", to("/files/..%2fb"), "malformed")
    yield case("prefix: with another method", to("/files/a"), "wrong_method", method="PUT")
    yield case("prefix: the reserved parameter again", to("/files/a") + "&%61tlas-access=1", "malformed")
    yield case(
        "prefix: of the whole host", signed("https://pod.example", prefix=True).replace("/?", "/a?"), "ok", prefix="/"
    )
    yield case(
        "prefix: signed so, in the middle of a name",
        with_grant(forged(f"u1.k1.{NOW + 9}.{NOW}.3.GET.p2.-.-", path="/a"), "https://pod.example/ab"),
        "bad_signature",
    )
    beyond = with_grant(forged(f"u1.k1.{NOW + 9}.{NOW}.3.GET.p4.-.-", path="/a/"), "https://pod.example/a/")
    yield case("prefix: signed so, longer than the path", beyond, "bad_signature")
    yield case("prefix: shorter than signed", folder.replace(".p7.", ".p1."), "bad_signature")


def path_form() -> Iterator[Case]:
    """Section 7."""
    good = in_path()
    to = lambda path: good.replace("/hls/a.m3u8", path)  # noqa: E731
    folder: dict[str, Any] = {"form": "path", "prefix": "/hls/"}
    grant = good.split("/")[4]
    yield case("path form: as it was signed", good, "ok", allowed=("/hls/a.m3u8", ""), **folder)
    yield case(
        "path form: a neighbour in the folder", to("/hls/seg%31.ts"), "ok", allowed=("/hls/seg1.ts", ""), **folder
    )
    yield case("path form: the folder", to("/hls/"), "ok", allowed=("/hls/", ""), **folder)
    yield case("path form: with a query", good + "?q=1;2", "ok", allowed=("/hls/a.m3u8", "q=1;2"), **folder)
    yield case("path form: HEAD", good, "ok", allowed=("/hls/a.m3u8", ""), method="HEAD", **folder)
    yield case(
        "path form: bound to an address",
        in_path(address="192.0.2.7"),
        "ok",
        allowed=("/hls/a.m3u8", ""),
        address="192.0.2.7",
        **folder,
    )
    root = in_path("https://pod.example/")
    yield case("path form: nothing behind the grant", root[:-1], "ok", form="path", allowed=("/", ""), prefix="/")
    yield case(
        "path form: the grant again behind it", f"{root}atlas-access/{grant}/hls/a.m3u8", "malformed", form="path"
    )
    for name, url in {
        "no grant": "https://pod.example/hls/a.m3u8",
        "an empty grant": "https://pod.example/atlas-access//hls/a.m3u8",
        "nothing but the segment": "https://pod.example/atlas-access",
        "nothing but the segment and a slash": "https://pod.example/atlas-access/",
        "the segment encoded": good.replace("atlas-access", "%61tlas-access"),
        "the segment in capitals": good.replace("atlas-access", "Atlas-Access"),
        "the segment further in": good.replace("/atlas-access", "/x/atlas-access"),
        "the grant encoded": good.replace("p1.", "p1%2E"),
        "out by dots": to("/hls/../b"),
        "out by encoded dots": to("/hls/%2e%2E/b"),
        "an empty segment": to("//hls/a.m3u8"),
        "an encoded slash": to("/hls%2fa.m3u8"),
        "a grant in the query too": f"{good}?atlas-access={grant_of(signed())}",
        "the parameter in the query, encoded": f"{good}?a=1&atlas%2daccess=1",
        "a bare parameter in the query": f"{good}?atlas-access",
        "a grant of the URL form": to("/hls/a").replace(
            grant, grant_of(signed("https://pod.example/hls/", prefix=True))
        ),
    }.items():
        yield case(f"path form: {name}", url, "malformed", form="path")
    for name, text in {
        "signed so, POST": f"p1.k1.{NOW + 600}.{NOW}.3.POST.p5.-.-",
        "signed so, one exact path": f"p1.k1.{NOW + 600}.{NOW}.3.GET.x.-.-",
        "signed so, once": f"p1.k1.{NOW + 600}.{NOW}.3.GET.p5.-.{NONCE}",
        "signed so, a long life": f"p1.k1.{NOW + 901}.{NOW}.3.GET.p5.-.-",
        "signed so, with the other tag": f"u1.k1.{NOW + 600}.{NOW}.3.GET.p5.-.-",
    }.items():
        url = good.replace(grant, forged(text, path="/hls/"))
        yield case(f"path form: {name}", url, "malformed", form="path", memory=[])
    yield case("path form: the longest life", in_path(expires_in_s=900), "ok", allowed=("/hls/a.m3u8", ""), **folder)
    yield case("path form: in the query", f"https://pod.example/hls/a.m3u8?atlas-access={grant}", "malformed")
    yield case("path form: another folder", to("/abc/a.m3u8"), "bad_signature", form="path")
    yield case("path form: above", to("/a.m3u8"), "bad_signature", form="path")
    yield case("path form: another host", good.replace("pod.", "pod2."), "bad_signature", form="path")
    yield case("path form: http", good.replace("https", "http"), "bad_signature", form="path")
    yield case("path form: another key id", good.replace("p1.k1", "p1.k2"), "unknown_key", form="path")
    yield case("path form: another method", good, "wrong_method", form="path", method="POST")
    yield case("path form: later", good, "expired", form="path", now=NOW + 605)
    yield case("path form: early", good, "not_yet_valid", form="path", now=NOW - 6)
    yield case("path form: another generation", good, "revoked", form="path", generation=4)


def limits() -> Iterator[Case]:
    """The longest and the least of each field, and one beyond; and names that some languages keep for themselves."""
    late = 10**12 - 1

    def text(
        *, kid: str = "k1", exp: int = NOW + 600, nbf: int = NOW, gen: int = 3, method: str = "GET", scope: str = "x"
    ) -> str:
        return f"u1.{kid}.{exp}.{nbf}.{gen}.{method}.{scope}.-.-"

    yield case("limit: not before is 0", with_grant(forged(text(nbf=0, exp=600))), "malformed", now=300)
    yield case("limit: times of 12 digits", with_grant(forged(text(exp=late, nbf=late - 600))), "ok", now=late - 300)
    yield case(
        "limit: times of 13 digits", with_grant(forged(text(exp=late + 601, nbf=late + 1))), "malformed", now=late + 300
    )
    yield case("limit: a generation of 12 digits", with_grant(forged(text(gen=late))), "ok", generation=late)
    yield case(
        "limit: a generation of 13 digits", with_grant(forged(text(gen=late + 1))), "malformed", generation=late + 1
    )
    yield case("limit: a method of 16 letters", with_grant(forged(text(method="A" * 16))), "ok", method="A" * 16)
    yield case("limit: a method of 17 letters", with_grant(forged(text(method="A" * 17))), "malformed", method="A" * 17)
    yield case("limit: one second", with_grant(forged(text(exp=NOW + 1))), "ok", leeway_s=0)
    yield case("limit: a kid of 32 that is none of the keys", with_grant(forged(text(kid="k" * 32))), "unknown_key")
    for kid in ("__proto__", "constructor", "toString"):
        yield case(f"limit: the kid {kid}", with_grant(forged(text(kid=kid))), "unknown_key")
    deep = f"/{'a' * 1500}/"
    yield case(
        "limit: a prefix of four digits",
        with_grant(forged(text(scope="p1502"), path=deep), f"https://pod.example{deep}b"),
        "ok",
        allowed=(f"{deep}b", ""),
        prefix=deep,
    )
    yield case(
        "limit: a prefix that is longer than the path",
        with_grant(forged(text(scope="p9999"), path="/a/"), "https://pod.example/a/"),
        "bad_signature",
    )
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    yield case("limit: the longest host and port", signed(f"https://{longest}:65535/a"), "ok")
    yield case(
        "limit: one character more", signed(f"https://{longest}:65535/a").replace(longest, f"a{longest}"), "malformed"
    )
    for name, host in {"two equal runs of zeros": "[1:0:0:2:3:0:0:4]", "one zero group": "[1:0:2:3:4:5:6:7]"}.items():
        yield case(f"limit: an IPv6 host with {name}", signed(f"https://{host}/a"), "ok")
    yield case(
        "limit: ftp with the port of https",
        signed().replace("https://pod.example", "ftp://pod.example:443"),
        "malformed",
    )
    beside = signed("https://pod.example/a/", prefix=True)
    name = "atlas-access;x"
    yield case(
        "limit: another name that begins like ours",
        beside.replace("?", f"?{name}=1&"),
        "ok",
        allowed=("/a/", f"{name}=1"),
        prefix="/a/",
    )
