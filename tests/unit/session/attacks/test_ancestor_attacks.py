"""What the scheme that ours descends from allows: written here in its vulnerable form, attacked, and compared with ours.

`old_sign` and `old_verify` compute the same signatures as the published one: two of its vectors are checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import parse_qsl, quote_plus, unquote_to_bytes, urlencode, urlsplit, urlunsplit

import pytest

from atlas_session import AccessDenied, CannotSign, verify_url
from tests.unit.session._signing import (
    KEY,
    KEYS,
    NOW,
    allowed,
    forged,
    reason,
    reason_path,
    signed,
    signed_path,
    with_grant,
)

SECRET = b"test-secret-test-secret-test-secret"
PAGE = "https://pod.example/stream/42"


def old_string(path: str, parameters: dict[str, str]) -> str:
    return f"{path or '/'}?{'&'.join(f'{quote_plus(n)}={quote_plus(v)}' for n, v in sorted(parameters.items()))}"


def old_mac(text: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(SECRET, text.encode(), "sha256")).rstrip(b"=").decode()


def old_sign(url: str, expires_in: int = 3600, now: int = NOW) -> str:
    parts = urlsplit(url)
    parameters = {**dict(parse_qsl(parts.query, True)), "exp": str(now + expires_in)}
    parameters["sig"] = old_mac(old_string(parts.path, parameters))
    return urlunsplit(parts._replace(query=urlencode(sorted(parameters.items()))))


def old_verify(url: str, now: int = NOW) -> str:
    parts = urlsplit(url)
    for piece in parts.query.split("%")[1:]:
        int(piece[:2], 16)  # as a decoder that raises for a broken escape
    parameters = dict(parse_qsl(parts.query, True))
    signature, expires = parameters.pop("sig", ""), parameters.get("exp", "")
    if not expires.isdigit() or not signature:
        return "malformed"
    if int(expires) < now:
        return "expired"
    return "ok" if hmac.compare_digest(old_mac(old_string(parts.path, parameters)), signature) else "bad_signature"


def as_the_application_sees(url: str) -> list[tuple[str, str]]:
    return [pair for pair in parse_qsl(urlsplit(url).query, True) if pair[0] not in ("sig", "exp", "atlas-access")]


def test_the_old_form_is_the_published_one() -> None:
    assert old_mac("/stream/42?exp=1747000000") == "2ZCANdPFRLnCSp7NomIjmlu1vI-GZC5Zt6ntYNo1Qaw"
    text = old_string("/stream/42", {"b": "x y~*/", "a": "1", "exp": "1747000000"})
    assert text == "/stream/42?a=1&b=x+y~%2A%2F&exp=1747000000"
    assert old_mac(text) == "37qWuXAz3EG0FM-_QpS7yap4uc0njtkYji0B7QlKvKM"
    assert old_verify(old_sign(PAGE)) == "ok"


# ---- duplicate parameters


def test_a_parameter_put_before_the_signed_one_is_not_seen_by_the_old_form() -> None:
    attack = lambda url: url.replace("?", "?user=admin&", 1)  # noqa: E731
    page = f"{PAGE}?user=guest"
    old = attack(old_sign(page))
    assert old_verify(old) == "ok"
    assert as_the_application_sees(old) == [("user", "admin"), ("user", "guest")]  # and many take the first
    assert reason(signed(page)) == "ok"
    assert reason(attack(signed(page))) == "bad_signature"


def test_two_values_of_one_name_survive_signing() -> None:
    page = f"{PAGE}?tag=a&tag=b"
    assert as_the_application_sees(old_sign(page)) == [("tag", "b")]
    assert as_the_application_sees(signed(page)) == [("tag", "a"), ("tag", "b")]


def test_two_grants_are_refused_whichever_is_good() -> None:
    good = signed(PAGE)
    grant = good.rpartition("=")[2]
    assert old_verify(old_sign(PAGE).replace("sig=", "sig=bad&sig=")) == "ok"
    for url in (f"{good}&atlas-access={grant}", f"{good}&atlas-access=bad", good.replace("?", "?atlas-access=bad&")):
        assert reason(url) == "malformed"


# ---- time


def test_who_does_not_hold_the_key_learns_nothing_about_time() -> None:
    guess = f"{PAGE}?exp={NOW - 1}&sig=x"
    assert old_verify(guess) == "expired"  # not "bad_signature": the time was looked at first
    grant = f"u1.k1.{NOW - 1}.{NOW - 2}.3.GET.x.-.-.{'A' * 43}"
    assert reason(with_grant(grant, PAGE)) == "bad_signature"


def test_the_caller_is_told_the_same_whatever_the_cause() -> None:
    told = set()
    for url, options in ((PAGE, {}), (signed(PAGE), {"now": NOW + 9999}), (signed(PAGE) + "&a", {})):
        with pytest.raises(AccessDenied) as caught:
            allowed(url, **options)
        told.add((str(caught.value), caught.value.args))
    assert told == {("access denied", ("access denied",))}


def test_at_its_very_end_a_grant_is_over() -> None:
    assert old_verify(old_sign(PAGE, 600), now=NOW + 600) == "ok"
    assert reason(signed(PAGE), now=NOW + 600, leeway_s=0) == "expired"
    assert reason(signed(PAGE), now=NOW + 599, leeway_s=0) == "ok"


@pytest.mark.parametrize("seconds", [-1, 0, 10**9])
def test_lifetimes_are_bounded(seconds: int) -> None:
    old_sign(PAGE, seconds)  # does not mind
    with pytest.raises(CannotSign, match="expires_in_s"):
        signed(PAGE, expires_in_s=seconds)


def test_a_lifetime_beyond_the_bound_is_refused_also_when_somebody_signed_it() -> None:
    assert old_verify(old_sign(PAGE, 10**9), now=NOW + 10**8) == "ok"
    text = f"u1.k1.{NOW + 10**9}.{NOW}.3.GET.x.-.-"
    assert reason(with_grant(forged(text, path="/stream/42"), PAGE)) == "malformed"


def test_no_expiry_is_no_eternity() -> None:
    def forgiving(url: str) -> str:
        parameters = dict(parse_qsl(urlsplit(url).query, True))
        expires = int(parameters.get("exp", "0"))
        return "expired" if expires and expires < NOW else "ok"  # 0 means never

    assert forgiving(f"{PAGE}?exp=0") == forgiving(PAGE) == "ok"
    for expires in ("0", "", "-1", "never", "00"):
        text = f"u1.k1.{expires}.{NOW}.3.GET.x.-.-"
        assert reason(with_grant(forged(text, path="/stream/42"), PAGE)) == "malformed"


# ---- reserved parameters at signing


def test_a_reserved_parameter_cannot_be_put_into_what_is_signed() -> None:
    """Whoever chooses a link's query would choose its expiry, where a present one is kept."""

    def keeping(url: str) -> str:
        parts = urlsplit(url)
        parameters = {"exp": str(NOW + 600), **dict(parse_qsl(parts.query, True))}
        parameters["sig"] = old_mac(old_string(parts.path, parameters))
        return urlunsplit(parts._replace(query=urlencode(parameters)))

    assert old_verify(keeping(f"{PAGE}?exp={NOW + 10**9}"), now=NOW + 10**8) == "ok"
    for query in ("atlas-access=x", "atlas-access", "a=1&atlas-access=", "%61tlas-access=1", "ATLAS-ACCESS=1"):
        with pytest.raises(CannotSign, match="reserved"):
            signed(f"{PAGE}?{query}")
    with pytest.raises(CannotSign, match="reserved"):
        signed_path("https://pod.example/atlas-access/x/a.m3u8")


def test_signing_again_does_not_give_a_url_that_never_verifies() -> None:
    once = f"{PAGE}?sig=abc"

    def appending(url: str) -> str:
        text = old_string(urlsplit(url).path, {**dict(parse_qsl(urlsplit(url).query)), "exp": str(NOW + 9)})
        return f"{url}&exp={NOW + 9}&sig={old_mac(text)}"

    assert old_verify(appending(once)) == "bad_signature"
    with pytest.raises(CannotSign, match="reserved"):
        signed(signed(PAGE))


# ---- what was not bound


@pytest.mark.parametrize(
    ("old", "new"),
    [("pod.example", "other.example"), ("https://", "http://"), ("example/", "example:8443/"), ("https://", "wss://")],
)
def test_a_url_is_no_good_elsewhere(old: str, new: str) -> None:
    assert old_verify(old_sign(PAGE).replace(old, new)) == "ok"
    assert reason(signed(PAGE).replace(old, new)) == "bad_signature"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "get"])
def test_a_link_to_look_at_is_no_leave_to_change(method: str) -> None:
    assert old_verify(old_sign(PAGE)) == "ok"  # has no idea of methods
    assert reason(signed(PAGE), method=method) == "wrong_method"
    assert reason(signed(PAGE), method="HEAD") == "ok"


def test_a_fragment_is_not_carried_along() -> None:
    assert old_verify(old_sign(f"{PAGE}#a").replace("#a", "#b")) == "ok"
    assert reason(signed(PAGE) + "#b") == "malformed"


def test_what_was_handed_out_can_be_revoked_and_keys_can_change() -> None:
    """The old form has neither generation nor key id: a second key means trying both, and nothing can be taken back."""
    url = signed(PAGE)
    assert reason(url, generation=4) == "revoked"
    assert reason(url, keys={"k2": KEY}) == "unknown_key"
    assert reason(url, keys={"k2": b"x" * 32, **KEYS}) == "ok"


def test_segments_of_a_playlist_come_with_it_and_their_neighbours_do_not() -> None:
    """Only exact paths can be signed in the old form, so its users sign a beginning by hand, without a slash at its end."""

    def begins(path: str, prefix: str) -> bool:
        return path.startswith(prefix)

    assert begins("/hls-of-others/b.ts", "/hls")
    assert begins("/hls/../secret", "/hls/")
    url = signed_path()
    assert reason_path(url.replace("a.m3u8", "seg1.ts")) == "ok"
    assert reason_path(url.replace("/hls/", "/hls-of-others/")) == "bad_signature"
    assert reason_path(url.replace("a.m3u8", "../secret")) == "malformed"
    with pytest.raises(CannotSign, match="end with '/'"):
        signed("https://pod.example/hls", prefix=True)


# ---- what raises


@pytest.mark.parametrize("query", ["a=%", "a=%zz", "%=1", "a=%C3", "a=%ED%A0%80", "a=%u1234", "=%"])
def test_a_broken_escape_is_a_refusal_and_no_exception(query: str) -> None:
    if "%C3" not in query and "%ED" not in query:
        with pytest.raises(ValueError):
            old_verify(f"{PAGE}?{query}&exp={NOW + 9}&sig=x")
    with pytest.raises(UnicodeDecodeError):  # where bytes are taken for text
        unquote_to_bytes("%C3").decode()
    grant = signed(PAGE).partition("?")[2]
    assert reason(f"{PAGE}?{query}&{grant}") == "malformed"


def test_a_path_has_one_spelling() -> None:
    """A proxy that writes an escape in another way breaks the old form's signature."""
    page = "https://pod.example/caf%C3%A9~"
    rewrite = lambda url: url.replace("%C3%A9~", "%c3%a9%7E")  # noqa: E731
    assert old_verify(rewrite(old_sign(page))) == "bad_signature"
    assert reason(rewrite(signed(page))) == "ok"


def test_dots_are_not_signed_as_written() -> None:
    page = "https://pod.example/public/../private"
    assert old_verify(old_sign(page)) == "ok"
    with pytest.raises(CannotSign, match="dot segment"):
        signed(page)


def test_a_path_alone_is_no_url() -> None:
    url = old_sign(PAGE)
    assert old_verify(url.removeprefix("https://pod.example")) == "ok"
    assert reason(signed(PAGE).removeprefix("https://pod.example")) == "malformed"


def test_the_clock_is_the_caller_s_own_only_when_it_says_so() -> None:
    now = int(time.time())
    url = signed(PAGE, now=now)
    assert verify_url(url, keys=KEYS, method="GET", generation=3).expires_at == now + 600
    with pytest.raises(AccessDenied):
        verify_url(signed(PAGE, now=now - 10_000), keys=KEYS, method="GET", generation=3)


def test_a_time_that_is_no_number_lets_nobody_in() -> None:
    """Every comparison with it is false, so a check that asks for lateness lets it pass."""
    nan = float("nan")
    assert not (nan >= NOW + 600 or nan < NOW)
    assert reason(signed(PAGE), now=nan) != "ok"
    assert reason(signed(PAGE), leeway_s=nan) != "ok"
    assert reason(signed(PAGE), now=float("inf")) == "expired"
    assert reason(signed(PAGE), now=float("-inf")) == "not_yet_valid"


def test_a_short_key_signs_nothing() -> None:
    assert hmac.digest(b"", b"", hashlib.sha256)  # HMAC itself takes any
    for key in ("k" * 32, [1] * 32, None):
        assert reason(signed(PAGE), keys={"k1": key}) == "unknown_key"
    for key in (b"", b"secret", bytes(31)):
        with pytest.raises(CannotSign, match="32"):
            signed(PAGE, key=key)
        assert reason(signed(PAGE), keys={"k1": key}) == "unknown_key"
