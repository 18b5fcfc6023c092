"""Signing, verifying and minting, each beside what people use for it today: itsdangerous, botocore's presigning, PyJWT."""

from __future__ import annotations

import time
from collections.abc import Callable

import jwt
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from itsdangerous import URLSafeTimedSerializer

from atlas_session import mint_token, sign_url, verify_token, verify_url
from benchmarks.project import Bench
from benchmarks.row import Row, against

__all__ = ["measure"]

Work = Callable[[], object]

_URL = "https://pod-7f3a-8000.example.net/stream/42/index.m3u8?quality=high&user=1234"
_KEY = bytes(range(32))
_KEYS = {"k1": _KEY}
_LIFE_S = 3600


def measure(_bench: Bench, *, quick: bool) -> list[Row]:
    """Each pair in turns, in one process; operations per second of CPU time."""
    repeats, each_s = (3, 0.02) if quick else (15, 0.2)

    def row(name: str, ours: Work, counterpart: str, theirs: Work, aim: str | None) -> Row:
        rates = _in_turns(ours, theirs, repeats, each_s)
        return against(name, "ops/s", rates[0], counterpart, rates[1], aim)

    return [
        row("sign_url", _sign, "itsdangerous URLSafeTimedSerializer.dumps", _dumps, "ratio >= 1"),
        row("sign_url_botocore", _sign, "botocore's presigning of a URL (SigV4)", _presign, "ratio >= 5"),
        row("sign_url_jwt", _sign, "PyJWT encode, HS256", _encode, None),
        row("verify_url", _verifying(), "itsdangerous URLSafeTimedSerializer.loads", _loading(), "ratio >= 1"),
        row("verify_url_botocore", _verifying(), "botocore presigning once more, to compare", _presign, "ratio >= 5"),
        row("verify_url_jwt", _verifying(), "PyJWT decode, HS256", _decoding(), None),
        row("mint_token", _mint, "itsdangerous URLSafeTimedSerializer.dumps", _dumps, "ratio >= 1"),
        row("mint_token_botocore", _mint, "botocore's presigning of a URL (SigV4)", _presign, "ratio >= 5"),
        row("mint_token_jwt", _mint, "PyJWT encode, HS256", _encode, None),
        row("verify_token", _checking(), "itsdangerous URLSafeTimedSerializer.loads", _loading(), "ratio >= 1"),
        row("verify_token_jwt", _checking(), "PyJWT decode, HS256", _decoding(), None),
    ]


def _in_turns(ours: Work, theirs: Work, repeats: int, each_s: float) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            found[side].append(_rate((ours, theirs)[side], each_s))
    return found[0][1:], found[1][1:]  # the first turn warms caches


def _rate(work: Work, each_s: float) -> float:
    """Operations in a second, counted over `each_s` seconds."""
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < each_s:
        for _ in range(50):
            work()
        done += 50
    return done / spent


# ---- ours


def _sign() -> str:
    return sign_url(_URL, key=_KEY, kid="k1", expires_in_s=_LIFE_S)


def _verifying() -> Work:
    url = _sign()
    return lambda: verify_url(url, keys=_KEYS, method="GET", generation=0)


def _mint() -> object:
    return mint_token(key=_KEY, context=b"session-1234")


def _checking() -> Work:
    minted = mint_token(key=_KEY, context=b"session-1234")
    return lambda: verify_token(minted.token, minted.hash)


# ---- theirs

_SERIALIZER = URLSafeTimedSerializer(_KEY, signer_kwargs={"digest_method": "sha256", "key_derivation": "hmac"})
_CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret-that-is-nobodys")
_CLAIMS = {"sub": "session-1234", "gen": 0, "url": _URL}


def _dumps() -> object:
    return _SERIALIZER.dumps(_URL)


def _loading() -> Work:
    text = _SERIALIZER.dumps(_URL)
    return lambda: _SERIALIZER.loads(text, max_age=_LIFE_S)


def _presign() -> object:
    request = AWSRequest("GET", _URL)
    S3SigV4QueryAuth(_CREDENTIALS, "s3", "eu-west-1", expires=_LIFE_S).add_auth(request)
    return request.url


def _encode() -> str:
    now = int(time.time())
    return jwt.encode({**_CLAIMS, "nbf": now, "exp": now + _LIFE_S}, _KEY, algorithm="HS256")


def _decoding() -> Work:
    text = _encode()
    return lambda: jwt.decode(text, _KEY, algorithms=["HS256"])
