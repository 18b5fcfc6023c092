"""HMAC-SHA256 and HKDF-SHA256 against the vectors of others: RFC 4231, RFC 5869, Standard Webhooks, Wycheproof's classes."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from atlas_session import mint_token, verify_token
from atlas_session._frame import b64url, frame, mac, unb64url
from atlas_session.errors import CannotSign
from atlas_session.keys import hkdf
from tests.unit.session._signing import KEY, OTHER_KEY, forged, grant_of, reason, signed, with_grant

RFC_4231 = {
    1: ("0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    2: (
        b"Jefe".hex(),
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    3: ("aa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    4: (bytes(range(1, 26)).hex(), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    5: ("0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    6: (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    7: (
        "aa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed"
        b" before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
}


@pytest.mark.parametrize("case", RFC_4231)
def test_rfc_4231(case: int) -> None:
    key, data, expected = RFC_4231[case]
    given = unb64url(mac(bytes.fromhex(key), data))
    assert given.hex()[: len(expected)] == expected  # case 5 is of the first 128 bits
    assert len(given) == 32


@pytest.mark.parametrize(
    ("key", "salt", "info", "length", "expected"),
    [
        (
            "0b" * 22,
            bytes(range(0x0D)),
            bytes(range(0xF0, 0xFA)),
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            b"",
            b"",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["case 1", "case 2", "case 3"],
)
def test_rfc_5869(key: str, salt: bytes, info: bytes, length: int, expected: str) -> None:
    assert hkdf(bytes.fromhex(key), salt=salt, info=info, length=length).hex() == expected


def test_hkdf_gives_as_much_as_the_rfc_allows_and_not_more() -> None:
    longest = hkdf(KEY, info=b"", length=8160)
    assert len(longest) == 8160
    assert longest[:32] == hkdf(KEY, info=b"")
    for length in (0, -1, 8161):
        with pytest.raises(CannotSign):
            hkdf(KEY, info=b"", length=length)


def test_hkdf_has_our_salt_unless_told_otherwise() -> None:
    pseudorandom = hmac.new(b"atlas-session", KEY, hashlib.sha256).digest()
    assert hkdf(KEY, info=b"i") == hmac.new(pseudorandom, b"i\x01", hashlib.sha256).digest()


def test_standard_webhooks() -> None:
    """Its scheme is another (`id.timestamp.body`), its primitive is ours."""
    secret = base64.b64decode("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".removeprefix("whsec_"))
    message = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    expected = base64.b64decode("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    assert unb64url(mac(secret, message)) == expected


def test_the_mac_does_not_depend_on_what_was_computed_before() -> None:
    """The state after the key is kept; each message must begin from it anew."""
    for key in (KEY, OTHER_KEY, b"", b"x" * 200, KEY):
        for message in (b"", b"a", b"b" * 1000, b"a"):
            assert unb64url(mac(key, message)) == hmac.new(key, message, hashlib.sha256).digest()


def test_netstrings_are_those_of_the_format() -> None:
    assert frame(b"hello world!") == b"12:hello world!,"
    assert frame(b"") == b"0:,"


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy"), (b"\xfb\xff\xbf", "-_-_")],
)
def test_rfc_4648(data: bytes, text: str) -> None:
    assert b64url(data) == text
    assert unb64url(text) == data


# ---- what Wycheproof does to tags

CLAIMS = "u1.k1.1767226200.1767225600.3.GET.x.-.-"
TAG = unb64url(forged(CLAIMS).rpartition(".")[2])


def _flip(tag: bytes, *bits: int) -> bytes:
    changed = bytearray(tag)
    for bit in bits:
        changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def modified(tag: bytes) -> dict[str, bytes]:
    bits = (0, 1, 7, 8, 31, 32, 33, 63, 64, 71, 77, 80, 96, 97, 103, 127, 128, 247, 248, 249, 254, 255)
    tags = {f"flipped bit {bit}": _flip(tag, bit) for bit in bits}
    tags["flipped bits 0 and 64"] = _flip(tag, 0, 64)
    tags["flipped bits 31 and 63"] = _flip(tag, 31, 63)
    tags["flipped bits 63 and 127"] = _flip(tag, 63, 127)
    tags["all bits flipped"] = bytes(byte ^ 0xFF for byte in tag)
    tags["all bits 0"] = bytes(len(tag))
    tags["all bits 1"] = b"\xff" * len(tag)
    tags["highest bit of each byte flipped"] = bytes(byte ^ 0x80 for byte in tag)
    tags["lowest bit of each byte flipped"] = bytes(byte ^ 0x01 for byte in tag)
    tags["reversed"] = tag[::-1]
    tags["halves exchanged"] = tag[16:] + tag[:16]
    return tags


@pytest.mark.parametrize("name", modified(TAG))
def test_a_modified_tag_is_refused(name: str) -> None:
    assert reason(with_grant(f"{CLAIMS}.{b64url(TAG)}")) == "ok"
    assert reason(with_grant(f"{CLAIMS}.{b64url(modified(TAG)[name])}")) == "bad_signature"


@pytest.mark.parametrize("length", [*range(32), 33, 48, 64])
def test_a_tag_of_another_length_is_refused(length: int) -> None:
    tag = (TAG + TAG)[:length]
    assert reason(with_grant(f"{CLAIMS}.{b64url(tag)}")) == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        TAG.hex(),
        TAG.hex().upper(),
        base64.b64encode(TAG).decode(),
        base64.urlsafe_b64encode(TAG).decode(),
        base64.b32encode(TAG).decode(),
        b64url(TAG).swapcase(),
        b64url(b64url(TAG).encode()),
        "%" + b64url(TAG)[0].encode().hex() + b64url(TAG)[1:],
    ],
    ids=["hex", "HEX", "base64", "padded", "base32", "other case", "encoded twice", "percent"],
)
def test_a_tag_in_another_encoding_is_refused(text: str) -> None:
    assert reason(with_grant(f"{CLAIMS}.{text}")) in ("malformed", "bad_signature")


def test_each_other_last_character_is_refused() -> None:
    """43 characters hold 258 bits: three in four of the last ones decode to the same 32 bytes as another."""
    text = b64url(TAG)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [c for c in alphabet if base64.urlsafe_b64decode(f"{text[:-1]}{c}=") == TAG]
    assert len(same) == 4
    good = [c for c in alphabet if reason(with_grant(f"{CLAIMS}.{text[:-1]}{c}")) == "ok"]
    assert good == [text[-1]]


def test_a_tag_of_another_key_is_refused() -> None:
    assert reason(with_grant(forged(CLAIMS, key=OTHER_KEY))) == "bad_signature"
    assert reason(with_grant(forged(CLAIMS, key=KEY + b"\1"))) == "bad_signature"


def test_a_key_with_zeros_behind_it_is_another_id_for_the_same_key() -> None:
    """HMAC pads short keys with zeros, so 32 bytes and the same with zeros behind them sign alike: ids tell them apart."""
    padded = KEY + bytes(32)
    url = signed()
    assert grant_of(signed(key=padded)) == grant_of(url)
    assert reason(url, keys={"k2": padded}) == "unknown_key"


def test_a_modified_token_is_refused() -> None:
    token, hashed = mint_token(key=KEY)
    data = unb64url(token.removeprefix("atlas_"))
    assert verify_token(token, hashed)
    for name, changed in modified(data).items():
        assert not verify_token("atlas_" + b64url(changed), hashed), name
    for name, changed in modified(bytes.fromhex(hashed)).items():
        assert not verify_token(token, changed.hex()), name
    assert not verify_token(token, hashed[:-2])
    assert not verify_token(token[:-1], hashed)
    assert not verify_token(token, hashed.upper())
    assert not verify_token(token, bytes.fromhex(hashed))
