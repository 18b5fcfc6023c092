"""The specification of signed access is enough to write a verifier from: one in JavaScript agrees with the vectors and with us."""

from __future__ import annotations

import hmac
import itertools
import json
import random
import shutil
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from atlas_session import AccessDenied, mint_token, sign_path, sign_url, verify_path, verify_url

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "sdk" / "python" / "vectors.json"
NODE = shutil.which("node")
NOW = 1_767_225_600
CASES = 60

pytestmark = pytest.mark.skipif(NODE is None, reason="The verifier in JavaScript needs node on PATH.")


def node(script: Path, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run(
        [NODE, script, *arguments], input=stdin, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


def ask(calls: list[dict[str, Any]]) -> list[Any]:
    done = node(HERE / "calls.mjs", stdin=json.dumps(calls))
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(calls)
    return answers


def count(value: Any) -> int:
    """Vectors are the entries of lists, wherever those are; a list inside of a vector is none."""
    if isinstance(value, list):
        return len(value)
    return sum(map(count, value.values())) if isinstance(value, dict) else 0


def test_every_vector_holds_in_javascript() -> None:
    done = node(HERE / "run.mjs", VECTORS)
    expected = count(json.loads(VECTORS.read_text(encoding="utf-8")))
    assert done.stdout == f"{expected} vectors, 0 failed\n", done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"surprises": [{"a": 1}]}, id="a section"),
        pytest.param({"tokens": {"surprises": []}}, id="a section within one"),
        pytest.param({"frames": 1}, id="no list"),
        pytest.param({"version": 2}, id="a version"),
    ],
)
def test_what_the_runner_does_not_know_fails(tmp_path: Path, change: dict[str, Any]) -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    vectors.update(change)
    changed = tmp_path / "vectors.json"
    changed.write_text(json.dumps(vectors), encoding="utf-8")
    done = node(HERE / "run.mjs", changed)
    assert done.returncode == 1
    assert "unknown" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" vectors, 0 failed")


# Odd URLs, each of which can be signed -------------------------------------------------------------------------------

ORIGINS = [
    "https://pod.example",
    "HTTP://Pod.Example:80",
    "ws://a_b-c.d:8080",
    "wss://[2001:DB8::0:1]",
    "http://127.0.0.1:1",
]
IN_PATH = [
    "a",
    "~",
    "%7e",
    "%41",
    "ä",
    "😀",
    " ",
    "%e2%82%ac",
    "%3f",
    "%23",
    "!$&'()*+,;=:@",
    "%2B",
    '"<>[]^`{|}',
    ".x",
]
IN_QUERY = ["a", "~", "%7E", "%61", "é", " ", "+", "%2b", "%2f", "/?:@", "%3D", ";", "'()", '"', "%26"]
ADDRESSES = [None, None, "192.0.2.7", "::1", "2001:db8:0:1:2::3", "::ffff:192.0.2.7", "1:0:0:2::"]


def odd_path(rnd: random.Random) -> str:
    return "".join("/s" + "".join(rnd.choices(IN_PATH, k=rnd.randrange(4))) for _ in range(rnd.randrange(1, 4)))


def odd_query(rnd: random.Random) -> str:
    def text() -> str:
        return "".join(rnd.choices(IN_QUERY, k=rnd.randrange(1, 4)))

    return "&".join(text() + rnd.choice(["", "=", "=" + text()]) for _ in range(rnd.randrange(4)))


def case(rnd: random.Random) -> dict[str, Any]:
    form = rnd.choice(["exact", "exact", "prefix", "path"])
    url = rnd.choice(ORIGINS) + odd_path(rnd)
    if form == "exact":
        url += "?" + odd_query(rnd)
    elif form == "prefix":
        url += "/"
    return {
        "form": form,
        "url": url,
        "key": rnd.randbytes(rnd.choice([32, 33, 64, 100])),
        "kid": rnd.choice(["k1", "__proto__", "constructor", "-", "k" * 32]),
        "expires_in_s": rnd.choice([1, 60, 900]),
        "not_before": rnd.choice([None, NOW - 900, NOW]),
        "generation": rnd.choice([0, 1, 10**12 - 1]),
        "address": rnd.choice(ADDRESSES),
        "method": "GET" if form == "path" else rnd.choice(["GET", "POST", "PROPFIND"]),
    }


CASES_TO_SIGN = [case(random.Random(seed)) for seed in range(CASES)]


def in_python(case: dict[str, Any]) -> str:
    common = {name: case[name] for name in ("key", "kid", "expires_in_s", "not_before", "generation", "address")}
    if case["form"] == "path":
        return sign_path(case["url"], **common, now=NOW)
    return sign_url(case["url"], **common, method=case["method"], prefix=case["form"] == "prefix", now=NOW)


def to_sign_in_javascript(case: dict[str, Any]) -> dict[str, Any]:
    options = {
        "key": case["key"].hex(),
        "kid": case["kid"],
        "expiresIn": case["expires_in_s"],
        "notBefore": case["not_before"],
        "generation": case["generation"],
        "address": case["address"],
        "method": case["method"],
        "prefix": case["form"] == "prefix",
        "now": NOW,
    }
    return {"call": "signPath" if case["form"] == "path" else "signUrl", "url": case["url"], "options": options}


def to_verify_in_javascript(case: dict[str, Any], url: str, now: float) -> dict[str, Any]:
    options = {
        "keys": {case["kid"]: case["key"].hex()},
        "method": case["method"],
        "generation": case["generation"],
        "address": case["address"],
        "now": now,
    }
    return {"call": "verifyPath" if case["form"] == "path" else "verifyUrl", "url": url, "options": options}


def verified_in_python(case: dict[str, Any], url: str, now: float) -> dict[str, Any]:
    verify = verify_path if case["form"] == "path" else verify_url
    try:
        grant = verify(
            url,
            keys={case["kid"]: case["key"]},
            method=case["method"],
            generation=case["generation"],
            address=case["address"],
            now=now,
        )
    except AccessDenied as denied:
        return {"ok": False, "reason": denied.reason}
    return {"ok": True, "path": grant.path, "query": grant.query, "prefix": grant.prefix}


def valid_from(case: dict[str, Any]) -> int:
    return NOW if case["not_before"] is None else case["not_before"]


def damaged(rnd: random.Random, url: str) -> str:
    """One character added, removed, replaced or escaped: much of it still means the same."""
    at = rnd.randrange(len(url))
    return url[:at] + rnd.choice(["", "/", "&", "%", "=", f"%{ord(url[at]):02x}", url[at].swapcase()]) + url[at + 1 :]


def test_what_python_signs_javascript_verifies() -> None:
    signed = [in_python(case) for case in CASES_TO_SIGN]
    answers = ask(
        [to_verify_in_javascript(c, url, valid_from(c)) for c, url in zip(CASES_TO_SIGN, signed, strict=True)]
    )
    for case, url, answer in zip(CASES_TO_SIGN, signed, answers, strict=True):
        assert answer["ok"], (case, url, answer)
        assert answer == verified_in_python(case, url, valid_from(case))


def test_what_javascript_signs_python_verifies() -> None:
    signed = ask([to_sign_in_javascript(case) for case in CASES_TO_SIGN])
    for case, url in zip(CASES_TO_SIGN, signed, strict=True):
        assert url == in_python(case)
        assert verified_in_python(case, url, valid_from(case))["ok"], (case, url)


def test_both_refuse_for_the_same_reason() -> None:
    rnd = random.Random("damage")
    tries = []
    for case, _ in itertools.product(CASES_TO_SIGN, range(10)):
        now = rnd.choice([0, case["expires_in_s"] + 5, -6, case["expires_in_s"] + 4.9]) + valid_from(case)
        tries.append((case, damaged(rnd, in_python(case)), now))
    answers = ask([to_verify_in_javascript(*tried) for tried in tries])
    assert answers == [verified_in_python(*tried) for tried in tries]
    assert {"malformed", "bad_signature", "expired", "not_yet_valid"} < {answer.get("reason") for answer in answers}


REFUSED_TO_SIGN = [
    ("https://pod.example/a?b=\\", {}),
    ("https://pod.example/a?b=\n", {}),
    ("https://pod.example/a?b=\x7f", {}),
    ("https://pod.example/a?b#", {}),
    ("https://pod.example/\ud800", {}),
    ("https://pod.example/a", {"not_before": 0}),
    ("https://pod.example/a", {"generation": 10**12}),
    ("https://pod.example/a", {"generation": -1}),
    ("https://pod.example/a", {"kid": "k" * 33}),
]


@pytest.mark.parametrize(("url", "change"), REFUSED_TO_SIGN)
def test_both_refuse_to_sign(url: str, change: dict[str, Any]) -> None:
    plain = {"not_before": NOW, "expires_in_s": 60, "generation": 0, "address": None, "kid": "k1", "method": "GET"}
    case = {"form": "exact", "url": url, "key": bytes(32)} | plain | change
    assert ask([to_sign_in_javascript(case)]) == [None]
    with pytest.raises(ValueError):
        in_python(case)


def signed_by_hand(form: str, path: str, query: str = "", **changed: str) -> str:
    """A grant that no signer would make, with the signature that it would have. The specification's rules, a third time."""
    tag = "u1" if form == "exact" else "p1"
    fields = {"tag": tag, "kid": "k1", "expires": f"{NOW + 60}", "not_before": f"{NOW}", "generation": "0"}
    fields |= {"method": "GET", "scope": "x", "address": "-", "nonce": "-"}
    fields |= changed
    nine = ".".join(fields.values())
    length = None if fields["scope"] == "x" else int(fields["scope"][1:])
    bound = [path, query] if length is None else [path[:length], ""]
    framed = "".join(
        f"{len(text)}:{text}," for text in ["atlas-session", nine, "https", "pod.example", "443", *bound, ""]
    )
    signature = urlsafe_b64encode(hmac.digest(bytes(32), framed.encode("ascii"), "sha256")).decode("ascii").rstrip("=")
    if form == "path":
        return f"https://pod.example/atlas-access/{nine}.{signature}{path}"
    return f"https://pod.example{path}?{query}{'&' if query else ''}atlas-access={nine}.{signature}"


@pytest.mark.parametrize(
    ("form", "change", "reason"),
    [
        ("exact", {}, None),
        ("exact", {"scope": "p3"}, None),
        ("path", {"scope": "p3"}, None),
        ("exact", {"scope": "p4"}, "bad_signature"),
        ("exact", {"scope": "p9999"}, "bad_signature"),
        ("path", {"scope": "p9999"}, "bad_signature"),
        ("exact", {"generation": "9" * 12}, "revoked"),
        ("exact", {"generation": "9" * 13}, "malformed"),
        ("exact", {"not_before": "0"}, "malformed"),
        ("exact", {"not_before": "0", "expires": "60"}, "malformed"),
        ("exact", {"expires": "9" * 12, "not_before": "9" * 11 + "8"}, "not_yet_valid"),
        ("exact", {"expires": "9" * 13, "not_before": "9" * 12 + "8"}, "malformed"),
        ("exact", {"kid": "k" * 32}, "unknown_key"),
        ("exact", {"kid": "__proto__"}, "unknown_key"),
        ("exact", {"method": "A" * 16}, "wrong_method"),
    ],
)
def test_both_judge_a_strange_grant_alike(form: str, change: dict[str, str], reason: str | None) -> None:
    url = signed_by_hand(form, "/a/", **change)
    case = {"form": form, "kid": "k1", "key": bytes(32), "method": "GET", "generation": 0, "address": None}
    (answer,) = ask([to_verify_in_javascript(case, url, NOW)])
    assert answer.get("reason") == reason
    assert answer == verified_in_python(case, url, NOW)


def test_tokens_that_python_mints() -> None:
    minted = [mint_token(), mint_token(key=bytes(32), context=b"x" * 2000)]
    calls = [{"call": "verifyToken", "url": one.token, "options": [other.hash]} for one in minted for other in minted]
    assert ask(calls) == [True, False, False, True]


# A check that is missing is noticed ----------------------------------------------------------------------------------

WITHOUT = {
    "the signature": ('demand(equalTexts(encodeB64(hmac(key, message)), grant.signature), "bad_signature");', ""),
    "that a prefix ends with a slash": (' && prefix.endsWith("/"), "bad_signature")', ', "bad_signature")'),
    "an unknown address": ('demand(boundTo !== null, "bad_signature");', 'if (boundTo === null) return "";'),
    "how long it is valid": ("demand(seconds >= 1 && seconds <= longest);", ""),
    "how long the path form is valid": ("const PATH_FORM_S = 900", "const PATH_FORM_S = 604800"),
    "the generation": ('demand(grant.generation === String(generation), "revoked");', ""),
    "the end": ('demand(now < grant.expires + leeway, "expired");', ""),
    "the second of the end": ("now < grant.expires + leeway", "now <= grant.expires + leeway"),
    "the beginning": ('demand(now >= grant.notBefore - leeway, "not_yet_valid");', ""),
    "the method": (' || (grant.method === "GET" && method === "HEAD"), "wrong_method")', ' || true, "wrong_method")'),
    "nonces": ("memory !== null && memory.isFirst(grant.nonce, grant.expires + leeway, now)", "true"),
    "the memory": ("memory !== null && memory.isFirst(", "memory === null || memory.isFirst("),
    "the least length of a key": (" && key.length >= KEY_BYTES", ""),
    "the tag of the URL form": ('demand(grant.tag === "u1");', ""),
    "the tag of the path form": ('grant.tag === "p1" && ', ""),
    "that the path form is for GET": ('grant.method === "GET" && grant.prefixLength', "grant.prefixLength"),
    "that the path form has no nonce": (' && grant.nonce === "-"', ""),
    "both forms at once": ('demand(!parts.query.split("&").some(isOurs));\n  const match', "const match"),
    "empty parameters": ('!parameters.includes("") && ', ""),
    "a second grant": (" && ours.length === 1 && ", " && ours.length >= 1 && "),
    "capitals in the parameter": ("decoded.toLowerCase() === PARAMETER", "decoded === PARAMETER"),
    "the length of the URL": (" && url.length <= URL_LIMIT", ""),
    "the length of the authority": ("demand(authority.length <= AUTHORITY_LIMIT);", ""),
    "the largest port": (" && Number(port) <= 65535", ""),
    "backslashes": (' && !text.includes("\\\\")', ""),
    "UTF-8": ("demand(isUtf8(Buffer.from(bytes)));", ""),
    "empty segments": ('demand(!spelled.includes("//"));', ""),
    "dots before a semicolon": ('segment.split(";")[0]', "segment"),
    "the reserved folder": ("demand(spelled !== FOLDER && !spelled.startsWith(`${FOLDER}/`));", ""),
    "a second equals sign": ("demand(values.length <= 1);", ""),
    "the order of parameters": ("(a.name < b.name ? -1 : Number(a.name > b.name))", "(a.text < b.text ? -1 : 1)"),
    "the one spelling of base64url": ("return encodeB64(bytes) === text ? bytes : null;", "return bytes;"),
}


@pytest.mark.parametrize("check", WITHOUT)
def test_the_vectors_notice_a_missing_check(tmp_path: Path, check: str) -> None:
    text, instead = WITHOUT[check]
    source = (HERE / "verifier.mjs").read_text(encoding="utf-8")
    assert source.count(text) == 1
    (tmp_path / "verifier.mjs").write_text(source.replace(text, instead), encoding="utf-8")
    shutil.copy(HERE / "run.mjs", tmp_path)
    done = node(tmp_path / "run.mjs", VECTORS)
    assert done.returncode == 1
    assert int(done.stdout.split()[-2]) > 0, "it did not run to its end: " + done.stdout + done.stderr
