"""Attacks on signed URLs and tokens that others have met: each against its vulnerable form, then against ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode

import jwt
import pytest

from atlas_session import AccessDenied, KeyRing, derive_key, mint_token, verify_token
from atlas_session._canonical import canonical_query
from atlas_session._frame import frame
from tests.unit.session._signing import (
    KEY,
    KEYS,
    NOW,
    OTHER_KEY,
    URL,
    allowed,
    forged,
    grant_of,
    reason,
    reason_path,
    signed,
    signed_path,
    with_grant,
)


def keyed(text: str) -> str:
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


# ---- canonicalisation and encoding


def test_sorting_before_encoding_is_not_sorting_after_it() -> None:
    """aws-sdk-php 3200: signer and verifier sort, one the texts and the other their encoded forms."""
    pairs = [("a~", "1"), ("aé", "2")]  # é comes after ~, %C3%A9 before it
    before = "&".join(f"{quote(n)}={v}" for n, v in sorted(pairs))
    after = "&".join(sorted(f"{quote(n)}={v}" for n, v in pairs))
    assert keyed(before) != keyed(after)
    assert canonical_query(before) == canonical_query(after) == after
    assert reason(signed("https://pod.example/a?a~=1&aé=2")) == "ok"


def test_sorting_pairs_is_not_sorting_names() -> None:
    """``=`` stands after ``-`` and before letters: sorted as whole texts, ``a-=1`` comes before ``a=2``."""
    assert sorted(["a=2", "a-=1"]) == ["a-=1", "a=2"]
    assert canonical_query("a-=1&a=2") == "a=2&a-=1"


def test_a_plus_is_not_quietly_a_space() -> None:
    """s3-expiry 2, aws-sdk-js 8033: one side writes ``+``, the other reads it as a plus."""
    assert unquote("a+b") != dict(parse_qsl("q=a+b"))["q"]
    assert quote_plus("a b") != quote("a b")
    url = signed("https://pod.example/a?q=a+b")
    assert "q=a%20b" in url
    assert reason(url) == "ok"
    assert reason(url.replace("a%20b", "a+b")) == "malformed"
    assert reason(url.replace("a%20b", "a%2Bb")) == "bad_signature"


def test_a_parameter_without_a_sign_is_not_one_with_an_empty_value() -> None:
    """libvmod-awsrest 24: both give the same signed text, and applications tell them apart."""
    assert urlencode(parse_qsl("acl", True)) == urlencode(parse_qsl("acl=", True))
    url = signed("https://pod.example/a?acl")
    assert reason(url) == "ok"
    assert reason(url.replace("?acl", "?acl=")) == "bad_signature"


def test_decoding_twice_gives_nothing_new() -> None:
    """aws-v4-signer-java 18: a layer decodes before the check, and another after it."""

    def checked(path: str) -> bool:
        return ".." not in unquote(path)

    assert checked("/files/%252e%252e/secret")
    assert unquote(unquote("/files/%252e%252e/secret")) == "/files/../secret"
    folder = signed("https://pod.example/files/", prefix=True)
    grant = allowed(folder.replace("/files/", "/files/%252e%252e/secret"))
    assert grant.path == "/files/%252e%252e/secret"  # decoded once, it is a name that begins with a percent sign
    assert unquote(grant.path) == "/files/%2e%2e/secret"
    assert reason(folder.replace("/files/", "/files/%2e%2e/secret")) == "malformed"


@pytest.mark.parametrize(
    "way",
    ["..", "%2e%2e", ".%2E", "..;a=b", "%2e%2e;", "a/..", "..%2fsecret", "..%5csecret", "..\\secret", ".//..", "./.."],
)
def test_no_spelling_leads_out_of_a_folder(way: str) -> None:
    folder = signed("https://pod.example/files/", prefix=True)
    assert f"/files/{way}/secret".startswith("/files/")  # all that a check of the beginning would ask
    assert reason(folder.replace("/files/", f"/files/{way}/secret")) == "malformed"
    assert reason_path(signed_path().replace("a.m3u8", way)) == "malformed"


def test_fields_cannot_flow_into_each_other() -> None:
    """Joined without lengths, two different lists of fields are one text."""

    def joined(*fields: str) -> str:
        return keyed("".join(fields))

    def lines(*fields: str) -> str:
        return keyed("\n".join(fields))

    assert joined("/files/a", "b=1") == joined("/files/", "ab=1")
    assert lines("GET", "/a\n/b", "") == lines("GET", "/a", "/b\n")
    assert frame(b"/files/a", b"b=1") != frame(b"/files/", b"ab=1")
    assert frame(b"GET", b"/a\n/b", b"") != frame(b"GET", b"/a", b"/b\n")
    assert frame(b"a", b"") != frame(b"", b"a") != frame(b"a")
    assert frame(b"1:a,") != frame(b"a")


def test_names_and_values_cannot_be_regrouped() -> None:
    url = signed("https://pod.example/a?x=1%26y%3D2")
    assert reason(url) == "ok"
    assert reason(url.replace("1%26y%3D2", "1&y=2")) == "bad_signature"
    assert reason(signed("https://pod.example/a?b=1").replace("a?b=1&", "a%3Fb=1?")) == "bad_signature"


# ---- side paths


def test_what_is_beside_the_signature_is_not_let_through() -> None:
    """MinIO CVE-2025-31489, CVE-2026-41145: a second way to give credentials that nobody verified."""

    def either(parameters: dict[str, str]) -> bool:
        return "X-Signature" in parameters or parameters.get("X-Credential", "").startswith("admin")

    assert either({"X-Credential": "admin/20260101"})
    grant = grant_of(signed_path())
    for url in (
        f"{URL}&kid=k1&sig={'A' * 43}",
        f"{URL}&atlas-access",
        f"{URL}&atlas-access=k1",
        f"{signed_path()}?atlas-access={grant}",
        signed().replace("atlas-access", "Atlas-Access"),
    ):
        assert reason(url) == "malformed"


def test_a_grant_of_one_form_is_none_of_the_other() -> None:
    """Two doors with one key: what was signed for the one must not open the other."""
    in_query = grant_of(signed("https://pod.example/hls/", prefix=True, expires_in_s=60))
    in_path = signed_path(expires_in_s=60).split("/")[4]
    assert in_query.split(".")[1:8] == in_path.split(".")[1:8]
    assert reason_path(f"https://pod.example/atlas-access/{in_query}/hls/a.m3u8") == "malformed"
    assert reason(with_grant(in_path, "https://pod.example/hls/a.m3u8")) == "malformed"


def test_both_doors_at_once_are_refused() -> None:
    both = f"{signed_path()}?atlas-access={grant_of(signed())}"
    assert reason_path(both) == "malformed"
    nested = signed("https://pod.example/", prefix=True).replace("/?", "/atlas-access/x/a.m3u8?")
    assert reason(nested) == "malformed"


# ---- hosts


@pytest.mark.parametrize(
    "host",
    [
        "pod.example@evil.example",
        "evil.example\\@pod.example",
        "pod.example:443@evil.example",
        "pod.example:443:80",
        "pod.example%00.evil.example",
        "pod.example,evil.example",
        "pod.example evil.example",
        "pod.example/.evil.example",
        "pod.example?.evil.example",
        "pod.example#.evil.example",
        "pod.example;evil",
        "pod.example.",
        "ｐｏｄ.example",
        "pod\u3002example",
        "\u212aod.example",
        "[pod.example]",
        "",
    ],
)
def test_a_malformed_host_is_not_the_signed_one(host: str) -> None:
    """Starlette before 1.0.1: a malformed Host header changed which URL the application believed it was asked for."""
    assert reason(signed().replace("pod.example", host)) in ("malformed", "bad_signature")


def test_the_kelvin_sign_is_no_k() -> None:
    assert "\u212a".lower() == "k"
    assert reason(signed("https://k.example/a").replace("//k.", "//\u212a.")) == "malformed"


# ---- algorithms


def compact(header: dict[str, Any], payload: dict[str, Any], key: bytes = b"") -> str:
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)]
    signature = hmac.digest(key, ".".join(texts).encode(), "sha256") if key else b""
    return ".".join([*texts, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])


def trusting(token: str, key: bytes) -> dict[str, Any]:
    """A verifier that does what the token's header says."""
    head, _, signature = token.rpartition(".")
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in head.split("."))
    if header["alg"] != "none":
        expected = base64.urlsafe_b64encode(hmac.digest(key, head.encode(), "sha256")).rstrip(b"=").decode()
        if expected != signature:
            raise ValueError
    return dict(payload)


def test_nobody_chooses_the_algorithm() -> None:
    """CVE-2022-29217, CVE-2026-48523 and all their kind: the token says how it is to be verified."""
    assert trusting(compact({"alg": "none"}, {"sub": "admin"}), KEY) == {"sub": "admin"}
    public = b"-----BEGIN PUBLIC KEY-----"  # known to all, and taken for the secret of HS256
    assert trusting(compact({"alg": "HS256"}, {"sub": "admin"}, public), public) == {"sub": "admin"}
    good = signed("https://pod.example/a")
    for tag in ("none", "None", "u0", "u2", "p1", "HS256", "x1", "U1", ""):
        assert reason(good.replace("=u1.", f"={tag}.")) == "malformed"
        text = f"{tag}.k1.{NOW + 600}.{NOW}.3.GET.x.-.-"
        assert reason(with_grant(forged(text))) == "malformed"


def test_a_token_of_another_kind_is_none_of_ours() -> None:
    token = jwt.encode({"exp": NOW + 600, "sub": "k1"}, KEY, algorithm="HS256", headers={"kid": "k1"})
    assert reason(with_grant(token)) == "malformed"
    assert not verify_token(token, hashlib.sha256(token.encode()).hexdigest())


@pytest.mark.parametrize("field", range(9))
def test_each_field_of_the_grant_is_signed(field: int) -> None:
    others = ["p1", "k2", str(NOW + 601), str(NOW - 1), "4", "POST", "p1", "a", "AAECAwQFBgcICQoL"]
    url = signed("https://pod.example/")
    fields = grant_of(url).split(".")
    assert fields[field] != others[field]
    fields[field] = others[field]
    keys = {"k1": KEY, "k2": OTHER_KEY}
    changes = {"generation": 4} if field == 4 else {"method": "POST"} if field == 5 else {}
    options: dict[str, Any] = {"keys": keys, "address": "192.0.2.7", "spend": lambda *_: True, **changes}
    assert reason(with_grant(".".join(fields), "https://pod.example/"), **options) in ("bad_signature", "malformed")


def test_a_key_id_leads_nowhere_but_into_the_keys() -> None:
    """JWT's `kid`, `jku` and `x5u` were used to make a verifier read a file or fetch a key."""
    for kid in ("../../dev/null", "https://evil.example/k", "k1' OR 1=1", "k1\0", "", "__class__", "k1.k1"):
        assert reason(with_grant(forged(f"u1.{kid}.{NOW + 9}.{NOW}.3.GET.x.-.-".encode("ascii").decode()))) in (
            "malformed",
            "unknown_key",
        )


def test_part_of_a_name_is_not_the_name() -> None:
    """CVE-2024-53861: ``iss`` was compared with ``in``, so that a part of it was enough."""
    assert "acm" in "acme"
    assert reason(signed("https://pod.example/a", kid="k")) == "unknown_key"
    assert reason(signed("https://od.example/a").replace("od.", "pod.")) == "bad_signature"
    assert reason(signed("https://pod.example/a", method="GE")) == "wrong_method"


# ---- primitives


def test_appending_to_a_message_needs_the_key() -> None:
    """MD5 or SHA-256 of secret and message can be continued by anybody who has the digest; HMAC cannot.

    nginx's secure_link is MD5 of a text with the secret in it. The vulnerable form is shown by its structure: its digest is
    the hash's whole state after the message, and hashing on from there gives the digest of the longer message.
    """
    secret, message, more = b"s" * 16, b"/a?expires=1", b"&expires=9999999999"
    length = len(secret) + len(message)
    padding = b"\x80" + bytes((55 - length) % 64) + (8 * length).to_bytes(8, "big")
    assert (length + len(padding)) % 64 == 0
    first = hashlib.sha256(secret + message).digest()
    state = hashlib.sha256(secret + message + padding + more).digest()
    assert _continued(first, length + len(padding), more) == state
    tag = hmac.digest(secret, message, "sha256")
    assert _continued(tag, length + len(padding), more) != hmac.digest(secret, message + padding + more, "sha256")


def _continued(state: bytes, hashed: int, more: bytes) -> bytes:
    """SHA-256 of a message of `hashed` bytes whose state is known, and `more` behind it (less than one block)."""
    total = 8 * (hashed + len(more))
    block = more + b"\x80" + bytes((55 - len(more)) % 64) + total.to_bytes(8, "big")
    words = [int.from_bytes(block[i : i + 4], "big") for i in range(0, 64, 4)]
    for i in range(16, 64):
        s0 = _turn(words[i - 15], 7) ^ _turn(words[i - 15], 18) ^ (words[i - 15] >> 3)
        s1 = _turn(words[i - 2], 17) ^ _turn(words[i - 2], 19) ^ (words[i - 2] >> 10)
        words.append((words[i - 16] + s0 + words[i - 7] + s1) & 0xFFFFFFFF)
    begin = [int.from_bytes(state[i : i + 4], "big") for i in range(0, 32, 4)]
    a, b, c, d, e, f, g, h = begin
    for i, constant in enumerate(_constants()):
        s1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        t1 = (h + s1 + ((e & f) ^ (~e & g)) + constant + words[i]) & 0xFFFFFFFF
        s0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) & 0xFFFFFFFF
        a, b, c, d, e, f, g, h = (t1 + t2) & 0xFFFFFFFF, a, b, c, (d + t1) & 0xFFFFFFFF, e, f, g
    ends = zip(begin, (a, b, c, d, e, f, g, h), strict=True)
    return b"".join(((one + two) & 0xFFFFFFFF).to_bytes(4, "big") for one, two in ends)


def _turn(word: int, by: int) -> int:
    return (word >> by | word << (32 - by)) & 0xFFFFFFFF


def _constants() -> list[int]:
    """The fractional parts of the cube roots of the first 64 primes, FIPS 180-4 section 4.2.2."""
    primes = [n for n in range(2, 312) if all(n % d for d in range(2, n))][:64]
    return [_cube_root(n << 96) & 0xFFFFFFFF for n in primes]


def _cube_root(number: int) -> int:
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def test_keys_of_one_purpose_open_nothing_else() -> None:
    ring = KeyRing.new()
    secret = ring.current.secret
    kid, for_urls = ring.sign_with("s-1", generation=3)
    url = signed(key=for_urls, kid=kid)
    assert reason(url, keys=ring.url_keys("s-1", generation=3, now=NOW)) == "ok"
    for purpose in ("bearer", "touch", "guard"):
        other = derive_key(secret, purpose=purpose, session_id="s-1", generation=3)  # type: ignore[arg-type]
        assert reason(url, keys={kid: other}) == "bad_signature"
    for session, generation in (("s-2", 3), ("s-1", 4), ("s-1", 0), ("s-13", 0)):
        assert reason(url, keys=ring.url_keys(session, generation=generation, now=NOW)) == "bad_signature"
    assert reason(url, keys={kid: secret}) == "bad_signature"


def test_a_url_key_is_no_token_and_a_token_no_url_key() -> None:
    token, hashed = mint_token(key=KEY)
    grant = grant_of(signed())
    assert not verify_token(grant, hashed)
    assert not verify_token("atlas_" + grant[-43:], hashed)
    assert reason(with_grant(token)) == "malformed"


def test_comparing_looks_at_all_of_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a clock: the comparison is `hmac.compare_digest`, once, of two texts of 43 characters."""
    seen: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def noting(left: Any, right: Any) -> bool:
        seen.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", noting)
    with pytest.raises(AccessDenied):
        allowed(signed()[:-43] + "A" * 43)
    assert [(len(left), len(right)) for left, right in seen] == [(43, 43)]
    token, hashed = mint_token()
    assert not verify_token(token, hashed[::-1])
    assert [(len(left), len(right)) for left, right in seen[1:]] == [(64, 64)]


def test_the_same_link_again_is_refused_where_once_was_meant() -> None:
    url = signed(method="POST", single_use=True)
    used: set[str] = set()

    def spend(nonce: str, _until: float) -> bool:
        fresh = nonce not in used
        used.add(nonce)
        return fresh

    options: dict[str, Any] = {"method": "POST", "spend": spend}
    assert [reason(url, **options), reason(url, **options)] == ["ok", "already_used"]
    assert reason(url, method="POST") == "already_used"  # nobody to remember it
    bad = url[:-43] + "A" * 43
    assert reason(
        bad, method="POST", spend=lambda *_: pytest.fail("a nonce was spent by somebody without the key")
    ) == ("bad_signature")
    assert reason(signed(), keys=KEYS) == "ok"
