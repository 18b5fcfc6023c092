"""What is shown holds no secret: representations, errors, tracebacks' texts."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from atlas_session import AccessDenied, KeyRing, MasterKey, errors, mint_token
from atlas_session._frame import b64url
from tests.unit.session._signing import (
    KEY,
    KEYS,
    NOW,
    allowed,
    allowed_path,
    forged,
    grant_of,
    signed,
    signed_path,
    with_grant,
)

KINDS = [getattr(errors, name) for name in errors.__all__ if issubclass(getattr(errors, name), AccessDenied)]


def test_a_minted_token_does_not_show_itself() -> None:
    minted = mint_token()
    for text in (repr(minted), str(minted), f"{minted}", repr([minted])):
        assert minted.token not in text
        assert minted.hash in text


def test_keys_do_not_show_themselves() -> None:
    secret = b"a secret that is long enough to sign"
    ring = KeyRing((MasterKey("k1", secret), MasterKey("k2", secret[::-1], NOW)))
    for text in (repr(ring), str(ring), repr(ring.current), f"{ring.keys}"):
        assert "secret" not in text
        assert b64url(secret) not in text
        assert "k1" in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_refusal_says_the_same(kind: type[AccessDenied]) -> None:
    error = kind("the detail")
    assert str(error) == "access denied"
    assert error.detail == "the detail"
    assert repr(error) == f"{kind.__name__}('access denied')"
    assert "detail" not in "".join(traceback.format_exception(error))
    assert str(pickle.loads(pickle.dumps(error))) == "access denied"


def test_each_refusal_has_a_reason_of_its_own_and_stands_in_the_tree_at_the_head_of_its_file() -> None:
    assert len({kind.reason for kind in KINDS}) == len(KINDS)
    assert all(kind.__name__ in str(errors.__doc__) for kind in KINDS)
    assert {kind.__mro__[1] for kind in KINDS} == {AccessDenied, Exception}


SECRET_URL = signed("https://pod.example/private-path?private=value", address="192.0.2.77")

REFUSED: list[tuple[str, dict[str, Any]]] = [
    (SECRET_URL, {"address": "192.0.2.78"}),
    (SECRET_URL, {"address": None}),
    (SECRET_URL, {"address": "192.0.2.77", "now": NOW + 9999}),
    (SECRET_URL, {"address": "192.0.2.77", "now": 1}),
    (SECRET_URL, {"address": "192.0.2.77", "generation": 4}),
    (SECRET_URL, {"address": "192.0.2.77", "method": "private-method"}),
    (SECRET_URL, {"keys": {}}),
    (SECRET_URL + "&%", {}),
    (SECRET_URL.replace("private-path", "private-path//"), {}),
    (SECRET_URL.replace("private-path", "private-path/%ff"), {}),
    (SECRET_URL.replace("pod.", "private-host."), {}),
    (SECRET_URL.replace("pod.", "private-host.."), {}),
    (SECRET_URL + "=", {}),
    (SECRET_URL + f"&atlas-access={grant_of(SECRET_URL)}", {}),
    (with_grant(forged(f"u1.k1.{NOW + 9}.{NOW}.3.GET.x.-.AAECAwQFBgcICQoL")), {}),
]


@pytest.mark.parametrize(("url", "options"), REFUSED, ids=range(len(REFUSED)))
def test_the_detail_for_the_log_holds_nothing_of_the_request(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(AccessDenied) as caught:
        allowed(url, **options)
    shown = f"{caught.value!r} {caught.value.detail} {caught.value.args} {caught.value.__cause__}"
    for private in (
        "private",
        "192.0.2",
        grant_of(SECRET_URL)[-43:],
        "AAEC",
        str(NOW)[:6],
        "k1",
        KEY.decode()[40:] or "\0\1",
    ):
        assert private not in shown
    assert caught.value.detail
    assert type(caught.value) is not AccessDenied


def test_what_a_grant_shows_is_no_credential() -> None:
    url = signed(single_use=True)
    grant = allowed(url, spend=lambda *_: True)
    assert grant_of(url)[-43:] not in repr(grant)
    assert grant_of(url) not in grant.query
    assert grant_of(url) not in allowed_path(signed_path()).path


def test_values_cannot_be_changed() -> None:
    grant, ring = allowed(signed()), KeyRing.new()
    with pytest.raises(AttributeError):
        grant.method = "POST"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        ring.keys = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        ring.current.secret = b""  # type: ignore[misc]
    assert grant == allowed(signed(), keys=dict(KEYS))
