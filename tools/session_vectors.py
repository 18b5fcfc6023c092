#!/usr/bin/env python3
"""Writes sdk/python/vectors.json, the test vectors of SPECIFICATION.md; with --check, only says whether it is up to date.

What a verifier must say, and what a canonical form must be, is written by hand in the tables here and in
`session_cases.py`, and is compared with what atlas_session says: a difference ends this program. Signatures, tokens and keys
are atlas_session's own; RFC 4231 and RFC 5869 vouch for what they are made of, in the unit tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sdk" / "python"))

from session_cases import BASE, KEY, KEYS, NONCE, NOW, OLD, Case, all_cases  # noqa: E402

from atlas_session import AccessDenied, CannotSign, derive_key, mint_token, verify_token  # noqa: E402
from atlas_session import _canonical as canonical  # noqa: E402
from atlas_session import _frame as framing  # noqa: E402
from atlas_session.addresses import network_of  # noqa: E402
from atlas_session.grants import message  # noqa: E402
from atlas_session.keys import hkdf  # noqa: E402
from atlas_session.urls import sign_path, sign_url, verify_path, verify_url  # noqa: E402

FILE = ROOT / "sdk" / "python" / "vectors.json"
ABOUT = (
    "Test vectors of SPECIFICATION.md. Names that end in _hex are bytes in hexadecimal, in_b64 base64url without padding. "
    "A result is 'ok' or the reason for refusal. 'memory' is null where the verifier keeps no memory of nonces, else those seen."
)


class Wrong(Exception):
    """atlas_session does not say what the table says."""


def hkdf_vectors() -> list[Case]:
    rows = [(KEY, b"atlas-session", b"", 32), (KEY, b"atlas-session", b"info", 32), (OLD, b"", b"\x00\xff", 80)]
    return [
        {
            "key_hex": key.hex(),
            "salt_hex": salt.hex(),
            "info_hex": info.hex(),
            "length": length,
            "output_hex": hkdf(key, info=info, salt=salt, length=length).hex(),
        }
        for key, salt, info, length in rows
    ]


def frame_vectors() -> list[Case]:
    rows = {
        (): b"",
        (b"",): b"0:,",
        (b"abc", b""): b"3:abc,0:,",
        (b"a,1:b",): b"5:a,1:b,",
        (b"a", b"b"): b"1:a,1:b,",
        ("ü€".encode(), b"\x00\xff"): "5:ü€,2:".encode() + b"\x00\xff,",
        (b"x" * 100,): b"100:" + b"x" * 100 + b",",
    }
    for fields, expected in rows.items():
        _same("frame", fields, framing.frame(*fields), expected)
    return [{"fields_hex": [f.hex() for f in fields], "frame_hex": expected.hex()} for fields, expected in rows.items()]


def base64_vectors() -> list[Case]:
    good = {"": b"", "AA": b"\x00", "_w": b"\xff", "-_8": b"\xfb\xff", "AAEC": b"\x00\x01\x02"}
    bad = ["A", "AB", "AA==", "AA=", "+_8", "-/8", "AA\n", " AA", "AAF", "AAECA", "Ä"]
    for text, data in good.items():
        _same("base64url", data, framing.b64url(data), text)
        _same("base64url, back", text, framing.unb64url(text), data)
    for text in bad:
        _same("base64url, refused", text, _refused(lambda text=text: framing.unb64url(text), ValueError), True)
    return [{"text": text, "bytes_hex": data.hex()} for text, data in good.items()] + [
        {"text": text, "bytes_hex": None} for text in bad
    ]


def token_vectors() -> dict[str, Any]:
    contexts = [b"", b"s-1", b"s-2", b"1:a,", bytes(range(256))]
    minted = {context: mint_token(key=KEY, context=context) for context in contexts}
    one, other = minted[b"s-1"], minted[b"s-2"]
    odd = "atlas_" + "A" * 42 + "B"
    rows = [
        ("its own", one.token, one.hash, True),
        ("another's hash", one.token, other.hash, False),
        ("last character", one.token[:-1] + ("A" if one.token[-1] != "A" else "E"), one.hash, False),
        ("other case", one.token.swapcase(), one.hash, False),
        ("cut", one.token[:-1], one.hash, False),
        ("longer", one.token + "A", one.hash, False),
        ("a line feed", one.token + "\n", one.hash, False),
        ("a space", " " + one.token, one.hash, False),
        ("padded", one.token + "=", one.hash, False),
        ("no prefix", one.token.removeprefix("atlas_"), one.hash, False),
        ("with its scheme", "Bearer " + one.token, one.hash, False),
        ("empty", "", one.hash, False),
        ("no hash", one.token, "", False),
        ("malformed, and no hash", one.token[:-1], "", False),
        ("malformed, with its own hash", one.token[:-1], sha256(one.token[:-1].encode()).hexdigest(), False),
        ("its last character in another spelling, with its own hash", odd, sha256(odd.encode()).hexdigest(), True),
        ("a hash in capitals", one.token, one.hash.upper(), False),
        ("a hash that is cut", one.token, one.hash[:-1], False),
        ("the hash as the token", one.hash, one.hash, False),
        ("the token as the hash", one.token, one.token, False),
    ]
    for name, token, hashed, expected in rows:
        _same("token", name, verify_token(token, hashed), expected)
    return {
        "derived": [
            {"key_hex": KEY.hex(), "context_hex": context.hex(), "token": token, "hash": hashed}
            for context, (token, hashed) in minted.items()
        ],
        "verification": [dict(zip(("name", "token", "hash", "ok"), row, strict=True)) for row in rows],
    }


def key_vectors() -> list[Case]:
    rows = [(purpose, "s-1", 0) for purpose in ("url", "bearer", "touch", "guard")]
    rows += [("url", "s-1", 1), ("url", "s-2", 0), ("url", "s-1", 10), ("url", "", 0), ("url", "sé", 12345)]
    return [
        {
            "master_hex": KEY.hex(),
            "purpose": purpose,
            "session_id": session,
            "generation": generation,
            "info": f"13:atlas-session,3:key,1:1,{len(purpose)}:{purpose},{len(session.encode())}:{session},"
            f"{len(str(generation))}:{generation},",
            "key_hex": derive_key(KEY, purpose=purpose, session_id=session, generation=generation).hex(),
        }
        for purpose, session, generation in rows
    ]


NETWORKS: dict[str, str | None] = {
    "192.0.2.7": "192.0.2.7/32",
    "0.0.0.0": "0.0.0.0/32",
    "::ffff:192.0.2.7": "192.0.2.7/32",
    "::FFFF:C000:0207": "192.0.2.7/32",
    "0:0:0:0:0:ffff:c000:207": "192.0.2.7/32",
    "2001:db8:0:1::5": "2001:db8:0:1::/64",
    "2001:DB8:0:1:FFFF:FFFF:FFFF:FFFF": "2001:db8:0:1::/64",
    "2001:db8:1:2:3:4:192.0.2.7": "2001:db8:1:2::/64",
    "2001:0:0:1::": "2001:0:0:1::/64",
    "2001:db8::1": "2001:db8::/64",
    "::1": "::/64",
    "::": "::/64",
    "::192.0.2.7": "::/64",
    "64:ff9b::192.0.2.7": "64:ff9b::/64",
    "0:0:1::": "0:0:1::/64",
    "fe80::1": "fe80::/64",
    "fe80::1%eth0": None,
    "::ffff:192.0.2.7%1": None,
    "": None,
    " 192.0.2.7": None,
    "192.0.2.7 ": None,
    "192.0.2.07": None,
    "192.0.2": None,
    "192.0.2.256": None,
    "192.0.2.7.1": None,
    "0xC0.0.2.7": None,
    "3221225991": None,
    "192.0.2.7:80": None,
    "192.0.2.7/32": None,
    "[::1]": None,
    "2001:db8::1::": None,
    "1:2:3:4:5:6:7": None,
    "1:2:3:4:5:6:7:8:9": None,
    "12345::": None,
    "::g": None,
    "١٩٢.0.2.7": None,
    "unknown": None,
}

PATHS: dict[str, str | None] = {
    "/": "/",
    "/a": "/a",
    "/a/": "/a/",
    "/a/b.c": "/a/b.c",
    "/%61%2D%5f%7E": "/a-_~",
    "/%c3%bc": "/%C3%BC",
    "/a%20b": "/a%20b",
    "/!$&'()*+,;=:@": "/!$&'()*+,;=:@",
    "/%21%24%26%27%28%29%2a%2B%2c%3B%3d%3A%40": "/%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%40",
    '/"<>[]^`{|}': "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D",
    "/%25": "/%25",
    "/%252e": "/%252e",
    "/...": "/...",
    "/.a": "/.a",
    "/a..b": "/a..b",
    "/a;..": "/a;..",
    "/a;x/b": "/a;x/b",
    "/..%3Bx": "/..%3Bx",
    "/%E2%82%AC": "/%E2%82%AC",
    "/%F4%8F%BF%BF": "/%F4%8F%BF%BF",
    "/x/atlas-access": "/x/atlas-access",
    "/atlas-accessx": "/atlas-accessx",
    "/Atlas-Access/": "/Atlas-Access/",
    "/atlas-access;a": "/atlas-access;a",
    **dict.fromkeys(
        ["a", "//", "/a//b", "//a", "/a//", "/.", "/..", "/a/.", "/a/..", "/a/../b", "/./a", "/%2e", "/%2E%2E", "/.%2e"]
    ),
    **dict.fromkeys(["/..;", "/.;a/b", "/a/..;b/c", "/a%2Eb", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/%00", "/%1f"]),
    **dict.fromkeys(
        ["/%7F", "/%0A", "/%", "/%4", "/%zz", "/%u0061", "/%C3", "/%C3/%BC", "/%C0%AE", "/%ED%A0%80", "/%FF"]
    ),
    **dict.fromkeys(["/%F4%90%80%80", "/%80", "/%E2%82", "/atlas-access", "/atlas-access/", "/atlas-access/a"]),
    **dict.fromkeys(["/%61tlas-access/a", "/atlas%2daccess", "/%2561/%2e./a"]),
}

QUERIES: dict[str, str | None] = {
    "": "",
    "a": "a",
    "a=": "a=",
    "=": "=",
    "=a": "=a",
    "a=1&b=2": "a=1&b=2",
    "b=2&a=1": "a=1&b=2",
    "a=2&a=1": "a=2&a=1",
    "b&a=2&b=1&a=1&a": "a=2&a=1&a&b&b=1",
    "a=1&a-=2&a0=3&a": "a=1&a&a-=2&a0=3",
    "b=1&B=2&~=3&%C3%A9=4&_=5": "%C3%A9=4&B=2&_=5&b=1&~=3",
    "%62=1&a=2": "a=2&b=1",
    "%7e=%7E&%2d": "-&~=~",
    "a=%2f%3d%26": "a=%2F%3D%26",
    "a%3d=1": "a%3D=1",
    "a=%20%2B": "a=%20%2B",
    "a=%0a%7f%01": "a=%0A%7F%01",
    "a=%2e%2E": "a=..",
    "a=%25": "a=%25",
    "a=%252B": "a=%252B",
    "a=%F0%9F%98%80": "a=%F0%9F%98%80",
    **dict.fromkeys(
        ["&", "a&", "&a", "a&&b", "a+b", "+", "a=b+c", "a;b", "a=1;b=2", "a=b=c", "==", "a==", "a=/", "a=?"]
    ),
    **dict.fromkeys(
        ["a=:", "a=@", "a=!", "a=$", "a='", "a=(", "a=)", "a=*", "a=,", 'a="', "a=<", "a=[", "a=^", "a=`", "a={"]
    ),
    **dict.fromkeys(
        ["a=%00", "%00", "a=%", "a=%1", "a=%zz", "a%=1", "a=%C3", "%C3=%A9", "a=%C0%AF", "a=%ED%A0%80", "a=%80"]
    ),
}


def spelling_vectors(name: str, rows: Mapping[str, str | None], function: Callable[[str], str]) -> list[Case]:
    for text, expected in rows.items():
        _same(name, text, _or_none(lambda text=text: function(text)), expected)
    return [{name: text, "canonical": expected} for text, expected in rows.items()]


#: Arguments of signing. The keys of the last column are those that differ from the first row's.
SIGNING: list[tuple[str, str, str, dict[str, Any]]] = [
    ("as in the specification", "url", BASE, {}),
    ("path of a folder", "url", "https://pod.example/files/", {"prefix": True, "expires_in_s": 604_800}),
    ("no path", "url", "wss://POD.example:443", {"generation": 12}),
    ("a port of its own", "url", "http://pod.example:8080/a", {}),
    ("parameters that need sorting", "url", "https://pod.example/a?b=2&a=2&b=1&a", {}),
    ("a form's spaces", "url", "https://pod.example/a b?q=x+y z&r=1%2B1", {}),
    ("characters that a query may not hold raw", "url", "https://pod.example/a?q=/x?y:z@;,=!$'()*[]\"", {}),
    ("characters beyond ASCII", "url", "https://pod.example/é€😀?q=é€😀", {}),
    ("spelled in another way", "url", "HTTPS://Pod.Example/%7e%c3%bc?%7e=%2f", {}),
    ("an IPv6 host", "url", "https://[2001:DB8:0::1]/a", {}),
    ("IPv4 in IPv6", "url", "https://[::ffff:192.0.2.7]:8443/a", {}),
    ("bound to an IPv4 address", "url", BASE, {"address": "192.0.2.7"}),
    ("bound to an IPv6 network", "url", BASE, {"address": "2001:db8:0:1::5"}),
    ("another method", "url", BASE, {"method": "DELETE"}),
    ("once", "url", BASE, {"nonce": NONCE, "method": "POST"}),
    ("from a later time", "url", BASE, {"not_before": NOW + 3600, "expires_in_s": 1}),
    ("another key", "url", BASE, {"kid": "a_B-9", "key_hex": OLD.hex()}),
    ("path form", "path", "https://pod.example/hls/a.m3u8", {}),
    ("path form of the root", "path", "https://pod.example", {"expires_in_s": 900}),
    ("path form of a folder", "path", "https://pod.example:8443/a b/c/", {"address": "::1", "generation": 7}),
    ("refused: two slashes", "url", "https://pod.example//a", {}),
    ("refused: dots", "url", "https://pod.example/a/../b", {}),
    ("refused: a fragment", "url", BASE + "#x", {}),
    ("refused: a user name", "url", "https://me@pod.example/", {}),
    ("refused: the reserved parameter", "url", "https://pod.example/?atlas-access=1", {}),
    ("refused: the reserved parameter, encoded", "url", "https://pod.example/?a=1&%41tlas-access", {}),
    ("refused: the reserved segment", "url", "https://pod.example/atlas%2Daccess/x", {}),
    ("refused: a broken escape", "url", "https://pod.example/?a=100%", {}),
    ("refused: an empty parameter", "url", "https://pod.example/?a&&b", {}),
    ("refused: a prefix without a slash", "url", "https://pod.example/a", {"prefix": True}),
    ("refused: a prefix with a query", "url", "https://pod.example/a/?b", {"prefix": True}),
    ("refused: more than seven days", "url", BASE, {"expires_in_s": 604_801}),
    ("refused: no time", "url", BASE, {"expires_in_s": 0}),
    ("refused: a kid with a dot", "url", BASE, {"kid": "a.b"}),
    ("refused: a short key", "url", BASE, {"key_hex": "00" * 31}),
    ("refused: small letters", "url", BASE, {"method": "get"}),
    ("refused: no address", "url", BASE, {"address": "localhost"}),
    ("refused: a backslash in the query", "url", "https://pod.example/?b=\\", {}),
    ("refused: a control character in the query", "url", "https://pod.example/?b=\x01", {}),
    ("refused: half a character", "url", "https://pod.example/?b=\ud800", {}),
    ("refused: not before the first second", "url", BASE, {"not_before": 0}),
    ("refused: a time of 13 digits", "url", BASE, {"not_before": 10**12 - 600}),
    ("refused: a generation of 13 digits", "url", BASE, {"generation": 10**12}),
    ("the last time there is", "url", BASE, {"not_before": 10**12 - 601}),
    ("refused: longer than 8192", "url", f"https://pod.example/{'a' * 8100}", {}),
    ("refused: path form with a query", "path", "https://pod.example/a?b", {}),
    ("refused: path form beyond 15 minutes", "path", "https://pod.example/a", {"expires_in_s": 901}),
]


def signing_vectors() -> list[Case]:
    usual = {
        "key_hex": KEY.hex(),
        "kid": "k1",
        "expires_in_s": 600,
        "not_before": NOW,
        "generation": 3,
        "address": None,
    }
    for_urls = {"method": "GET", "prefix": False, "nonce": None}
    vectors = []
    for name, form, url, changes in SIGNING:
        arguments = {**usual, **(for_urls if form == "url" else {}), **changes}
        signed, text = _signed(form, url, arguments)
        _same("signing", name, signed is None, name.startswith("refused"))
        vectors.append({"name": name, "form": form, "url": url, **arguments, "message": text, "signed": signed})
    return vectors


def _signed(form: str, url: str, arguments: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The signed URL and the message; None twice when it is refused."""
    options = {name: value for name, value in arguments.items() if name not in ("key_hex", "nonce")}
    options["key"] = bytes.fromhex(arguments["key_hex"])
    nonce = arguments.get("nonce")
    if nonce:
        options["single_use"] = True
    seen: list[bytes] = []

    def noting(*fields: Any) -> bytes:
        seen.append(message(*fields))
        return seen[-1]

    with (
        mock.patch("secrets.token_bytes", lambda count: framing.unb64url(nonce)),
        mock.patch("atlas_session.grants.message", noting),
    ):
        try:
            signed = (sign_url if form == "url" else sign_path)(url, **options)
        except CannotSign:
            return None, None
    return signed, seen[-1].decode("ascii")


def verification_vectors() -> list[Case]:
    cases = all_cases()
    for one in cases:
        expected = {name: one[name] for name in ("result", "path", "query", "prefix") if name in one}
        _same("verification", one["name"], verdict(one), expected)
    return cases


def verdict(one: Case, keys: Mapping[str, bytes] = KEYS) -> Case:
    """What atlas_session says to a case."""
    options = {name: one[name] for name in ("method", "generation", "address", "now", "leeway_s")}
    try:
        if one["form"] == "path":
            grant = verify_path(one["url"], keys=keys, **options)
        else:
            memory = one["memory"]
            spend = None if memory is None else lambda nonce, _until: nonce not in memory
            grant = verify_url(one["url"], keys=keys, spend=spend, **options)
    except AccessDenied as denied:
        return {"result": denied.reason}
    return {"result": "ok", "path": grant.path, "query": grant.query, "prefix": grant.prefix}


def document() -> dict[str, Any]:
    return {
        "version": 1,
        "about": ABOUT,
        "hkdf": hkdf_vectors(),
        "frames": frame_vectors(),
        "base64url": base64_vectors(),
        "tokens": token_vectors(),
        "session_keys": key_vectors(),
        "networks": spelling_vectors("address", NETWORKS, network_of),  # type: ignore[arg-type]
        "paths": spelling_vectors("path", PATHS, canonical.canonical_path),
        "queries": spelling_vectors("query", QUERIES, canonical.canonical_query),
        "signing": signing_vectors(),
        "keys_hex": {kid: key.hex() for kid, key in KEYS.items()},
        "verification": verification_vectors(),
    }


def _same(what: str, name: object, given: object, expected: object) -> None:
    if given != expected:
        raise Wrong(f"{what}, {name!r}: the table says {expected!r:.300}, atlas_session {given!r:.300}")


def _refused(function: Callable[[], object], error: type[Exception]) -> bool:
    try:
        function()
    except error:
        return True
    return False


def _or_none(function: Callable[[], str | None]) -> str | None:
    try:
        return function()
    except AccessDenied:
        return None


def main(arguments: list[str]) -> int:
    try:
        text = json.dumps(document(), indent=1, ensure_ascii=True) + "\n"
    except Wrong as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" in arguments:
        now = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        if now != text:
            print("sdk/python/vectors.json is not what this program makes", file=sys.stderr)
        return int(now != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
