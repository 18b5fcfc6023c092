"""Signed URLs: for what cannot send a header, such as a link, an image, a video or a browser's WebSocket.

`sign_url` puts the grant into the query parameter ``atlas-access``; `sign_path` puts it before the path, so that relative
addresses inside (the segments of an HLS playlist) carry it along. SPECIFICATION.md describes both for other languages.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from atlas_session._canonical import MAX_URL, RESERVED, Parts, canonical_path, canonical_query, split, take_reserved
from atlas_session._frame import KEY_BYTES, b64url, unb64url
from atlas_session.addresses import network_of
from atlas_session.errors import (
    AccessDenied,
    AlreadyUsed,
    BadSignature,
    CannotSign,
    Expired,
    Malformed,
    NotYetValid,
    Revoked,
    UnknownKey,
    WrongMethod,
)
from atlas_session.grants import MAX_LEEWAY_S, MAX_LIFETIME_S, MAX_PATH_LIFETIME_S, Claims, Form, Grant, parse, sign
from atlas_session.keys import check_key, check_kid

__all__ = ["DEFAULT_LEEWAY_S", "Spend", "sign_path", "sign_url", "verify_path", "verify_url"]

#: How far the clocks of signer and verifier may differ, seconds.
DEFAULT_LEEWAY_S = 5

#: Says whether a nonce is used for the first time, and remembers it until the unix time given.
Spend = Callable[[str, float], bool]

_METHOD = re.compile(r"[A-Z]{1,16}")
_IN_FRONT = f"/{RESERVED}/"


def sign_url(
    url: str,
    *,
    key: bytes | str,
    kid: str,
    expires_in_s: int,
    method: str = "GET",
    prefix: bool = False,
    not_before: int | None = None,
    generation: int = 0,
    address: str | None = None,
    single_use: bool = False,
    now: float | None = None,
) -> str:
    """The URL in its canonical spelling with a grant in its query.

    Args:
        url: Absolute: http, https, ws or wss. Scheme, host, port, path and query are bound. In its query ``+`` is a space.
        key: 32 bytes or more, known to signer and verifier; or those as base64url, as a pod's `signing_key` is.
        kid: The key's id, 1 to 32 letters, digits, dashes or underscores.
        expires_in_s: Seconds that the grant lives, from `not_before`: 1 to 604,800 (seven days).
        method: In capitals. ``GET`` allows ``HEAD`` too; nothing else implies another one.
        prefix: Allow every path that begins with this one, which must end with ``/``, with any query of its own.
        not_before: Unix seconds before which it is not valid; default: now.
        generation: The session's generation. A higher one revokes all that came before.
        address: The only client address (IPv4), or network (/64, IPv6), that may use it.
        single_use: Valid once, where the verifier keeps a memory for that.
        now: Unix seconds; default: this machine's clock.

    Raises CannotSign when this cannot be signed, for example because the query holds ``atlas-access`` already.
    """
    parts = _parts_to_sign(url)
    length = _prefix_length(parts.path, parts.query) if prefix else 0
    network = _network(address)
    claims = _claims("url", kid, expires_in_s, method, not_before, generation, length, network, single_use, now)
    grant = _grant(claims, key, parts, parts.path, parts.query, network)
    query = f"{parts.query}&{RESERVED}={grant}" if parts.query else f"{RESERVED}={grant}"
    return _short_enough(f"{parts.scheme}://{parts.netloc}{parts.path}?{query}")


def sign_path(
    url: str,
    *,
    key: bytes | str,
    kid: str,
    expires_in_s: int,
    not_before: int | None = None,
    generation: int = 0,
    address: str | None = None,
    now: float | None = None,
) -> str:
    """The URL with a grant before its path, for GET and HEAD of everything in the folder of that path.

    ``https://host/hls/a.m3u8`` becomes ``https://host/atlas-access/<grant>/hls/a.m3u8`` and allows all below ``/hls/``.
    Arguments and errors as `sign_url`, with at most 900 seconds (15 minutes). The URL may have no query.
    """
    parts = _parts_to_sign(url)
    folder = parts.path[: parts.path.rindex("/") + 1]
    length, network = _prefix_length(folder, parts.query), _network(address)
    claims = _claims("path", kid, expires_in_s, "GET", not_before, generation, length, network, False, now)
    grant = _grant(claims, key, parts, folder, "", network)
    return _short_enough(f"{parts.scheme}://{parts.netloc}{_IN_FRONT}{grant}{parts.path}")


def verify_url(
    url: str,
    *,
    keys: Mapping[str, bytes],
    method: str,
    generation: int,
    address: str | None = None,
    now: float | None = None,
    leeway_s: float = DEFAULT_LEEWAY_S,
    spend: Spend | None = None,
) -> Grant:
    """What the URL's grant allows, when it allows this request.

    Args:
        url: As the visitor wrote it: absolute, with the scheme and host that the visitor used.
        keys: Key id → key, those in force.
        method: The request's method.
        generation: The session's generation now.
        address: The visitor's address, where it is known for certain.
        now: Unix seconds; default: this machine's clock.
        leeway_s: How far the signer's clock may differ, at most 60.
        spend: The memory of single-use grants; without one they are refused.

    Raises AccessDenied, whatever the input is. The signature is compared first, in constant time; then the rest.
    """
    parts = split(url)
    text, query = take_reserved(parts.query)
    if text is None:
        raise Malformed("there is no grant")
    claims, signed, signature = parse(text, "url")
    path = canonical_path(parts.path)
    covered = "" if claims.prefix_length else canonical_query(query)
    _prove(claims, signed, signature, keys, parts, path, covered, address)
    _judge(claims, method, generation, time.time() if now is None else now, leeway_s, spend)
    return _granted(claims, path, query)


def verify_path(
    url: str,
    *,
    keys: Mapping[str, bytes],
    method: str,
    generation: int,
    address: str | None = None,
    now: float | None = None,
    leeway_s: float = DEFAULT_LEEWAY_S,
) -> Grant:
    """As `verify_url`, for the form of `sign_path`. The grant's `path` is what the application is to see."""
    parts = split(url)
    if take_reserved(parts.query)[0] is not None:
        raise Malformed("a grant in the path and another in the query")
    if not parts.path.startswith(_IN_FRONT):
        raise Malformed("there is no grant")
    text, slash, rest = parts.path.removeprefix(_IN_FRONT).partition("/")
    claims, signed, signature = parse(text, "path")
    path = canonical_path(slash + rest or "/")
    _prove(claims, signed, signature, keys, parts, path, "", address)
    _judge(claims, method, generation, time.time() if now is None else now, leeway_s, None)
    return _granted(claims, path, parts.query)


# ---- signing


def _parts_to_sign(url: str) -> Parts:
    if not isinstance(url, str):
        raise CannotSign("the URL must be text")
    try:
        parts = split((url if url.isascii() else _encode_beyond_ascii(url)).replace(" ", "%20"))
        if _holds_reserved(parts.query):
            raise CannotSign(f"'{RESERVED}' is reserved and stands in the URL already; sign the URL without it")
        path, query = canonical_path(parts.path), canonical_query(parts.query, form=True)
    except UnicodeEncodeError:
        raise CannotSign("the URL holds half a character") from None
    except AccessDenied as error:
        raise CannotSign(f"the URL cannot be signed: {error.detail}") from None
    return Parts(parts.scheme, parts.host, parts.port, path, query)


def _encode_beyond_ascii(url: str) -> str:
    return "".join([c if c.isascii() else "".join([f"%{byte:02X}" for byte in c.encode("utf-8")]) for c in url])


def _holds_reserved(query: str) -> bool:
    try:
        return take_reserved(query)[0] is not None
    except Malformed:
        return True


def _prefix_length(path: str, query: str) -> int:
    if query:
        raise CannotSign("such a grant covers any query, so the URL to sign may have none")
    if not path.endswith("/"):
        raise CannotSign("a prefix must end with '/', or it would cover its neighbours too")
    return len(path)


def _network(address: str | None) -> str:
    if address is None:
        return ""
    network = network_of(address)
    if network is None:
        raise CannotSign("the address is no IPv4 or IPv6 address")
    return network


def _claims(
    form: Form,
    kid: str,
    expires_in_s: int,
    method: str,
    not_before: int | None,
    generation: int,
    prefix_length: int,
    network: str,
    single_use: bool,
    now: float | None,
) -> Claims:
    check_kid(kid)
    longest = MAX_PATH_LIFETIME_S if form == "path" else MAX_LIFETIME_S
    lifetime = _whole(expires_in_s, 1, longest, f"expires_in_s must be a whole number from 1 to {longest:,}")
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise CannotSign("the method is one word in capitals, such as GET")
    gen = _whole(generation, 0, 10**12 - 1, "a generation is a whole number, 0 or more")
    if not_before is None:
        not_before = int(_seconds(now))
    begin = _whole(not_before, 1, 10**12 - 1 - lifetime, "not_before must be unix seconds, a whole number")
    nonce = b64url(secrets.token_bytes(12)) if single_use else "-"
    return Claims(form, kid, begin + lifetime, begin, gen, method, prefix_length, network != "", nonce)


def _whole(value: Any, least: int, most: int, refusal: str) -> int:
    """A whole number, also as a float, that stands between two; a truth value is none."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise CannotSign(refusal)
    return value


def _seconds(now: Any) -> float:
    if now is None:
        return time.time()
    if not isinstance(now, int | float) or not math.isfinite(now):
        raise CannotSign("now must be unix seconds")
    return now


def _grant(claims: Claims, key: bytes | str, parts: Parts, path: str, query: str, network: str) -> str:
    secret = _bytes_of(key)
    check_key(secret)
    text = claims.text()
    return f"{text}.{sign(secret, text, parts.scheme, parts.host, parts.port, path, query, network)}"


def _bytes_of(key: Any) -> Any:
    if not isinstance(key, str):
        return key
    try:
        return unb64url(key)
    except ValueError:
        raise CannotSign("a key that is text must be unpadded base64url") from None


def _short_enough(url: str) -> str:
    if len(url) > MAX_URL:
        raise CannotSign(f"the signed URL would be longer than {MAX_URL:,} characters, and refused everywhere")
    return url


# ---- verifying


def _prove(
    claims: Claims,
    signed: str,
    signature: str,
    keys: Mapping[str, bytes],
    parts: Parts,
    path: str,
    query: str,
    address: str | None,
) -> None:
    """That the text was signed with the key it names, for this URL and address. Raises UnknownKey or BadSignature."""
    key = keys.get(claims.kid)
    if not isinstance(key, bytes) or len(key) < KEY_BYTES:
        raise UnknownKey("the key id is not in force")
    if claims.prefix_length:
        path = _beginning(path, claims.prefix_length)
    network = ""
    if claims.address_bound:
        found = network_of(address)
        if found is None:
            raise BadSignature("it is bound to an address, and the visitor's is not known")
        network = found
    expected = sign(key, signed, parts.scheme, parts.host, parts.port, path, query, network)
    if not hmac.compare_digest(expected, signature):
        raise BadSignature("the signature does not fit")


def _beginning(path: str, length: int) -> str:
    prefix = path[:length]
    if len(prefix) != length or prefix[-1] != "/":
        raise BadSignature("the path is not below the signed prefix")
    return prefix


def _judge(claims: Claims, method: str, generation: int, now: float, leeway_s: float, spend: Spend | None) -> None:
    """Everything but the signature. Raises the refusal of the first rule that is broken."""
    leeway = min(max(leeway_s, 0), MAX_LEEWAY_S)
    longest = MAX_PATH_LIFETIME_S if claims.form == "path" else MAX_LIFETIME_S
    if not 0 < claims.exp - claims.nbf <= longest:
        raise Malformed("it lives longer than is allowed")
    if claims.gen != generation:
        raise Revoked("signed for another generation")
    if now >= claims.exp + leeway:
        raise Expired("too late")
    if not now >= claims.nbf - leeway:
        raise NotYetValid("too early")
    if method != claims.method and not (method == "HEAD" and claims.method == "GET"):
        raise WrongMethod("signed for another method")
    if claims.nonce != "-" and (spend is None or not spend(claims.nonce, claims.exp + leeway)):
        raise AlreadyUsed("it was to be used once")


def _granted(claims: Claims, path: str, query: str) -> Grant:
    prefix = path[: claims.prefix_length] if claims.prefix_length else None
    nonce = None if claims.nonce == "-" else claims.nonce
    return Grant(
        claims.kid, claims.exp, claims.nbf, claims.gen, claims.method, prefix, path, query, claims.address_bound, nonce
    )
