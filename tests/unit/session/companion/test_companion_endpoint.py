"""Where the companion is, what is refused, and TLS."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from companion_kit import FakeCompanion

from atlas_session.companion import AsyncCompanionClient, CompanionClient, Unreachable
from atlas_session.companion._endpoint import endpoint


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://c.example", "https://c.example"),
        ("HTTPS://C.Example:443/", "https://c.example"),
        ("https://c.example:8443/atlas/", "https://c.example:8443/atlas"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.9.9.9:8080", "http://127.9.9.9:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_good_addresses(given: str, kept: str) -> None:
    assert endpoint(given, "k").url == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://c.example",
        "http://10.0.0.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://0.0.0.0",
        "https://user@c.example",
        "https://user:secret@c.example",
        "https://c.example?a=1",
        "https://c.example/?",
        "https://c.example#x",
        "https://c.example/../x",
        "https://c.example/a b",
        "https://c.example/%2e%2e",
        "https://c.example//x",
        "https://c.example\r\nX: y",
        "wss://c.example",
        "ftp://c.example",
        "c.example",
        "https://",
        "https://c.example:99999",
        "",
    ],
)
def test_bad_addresses(url: str) -> None:
    for face in (CompanionClient, AsyncCompanionClient):
        with pytest.raises(ValueError) as caught:
            face(url, key="the-secret-key")
        assert "the-secret-key" not in str(caught.value)


def test_http_beyond_loopback_is_for_who_asks_for_it() -> None:
    assert endpoint("http://companion:8080", "k", allow_http=True).url == "http://companion:8080"


@pytest.mark.parametrize("key", ["", "two words", "ключ", "a\r\nX: y", "a\n", "x" * 4097])
def test_bad_keys(key: str) -> None:
    with pytest.raises(ValueError) as caught:
        CompanionClient("https://c.example", key=key)
    assert not key or key not in str(caught.value)


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="ATLAS_COMPANION_URL"):
        CompanionClient(key="k")
    with pytest.raises(ValueError, match="ATLAS_COMPANION_KEY"):
        CompanionClient("https://c.example")
    monkeypatch.setenv("ATLAS_COMPANION_URL", "https://env.example")
    monkeypatch.setenv("ATLAS_COMPANION_KEY", "from-env")
    assert endpoint(None, None).key == "from-env"
    assert endpoint("https://c.example", None).url == "https://c.example"
    assert endpoint(None, "mine").key == "mine"
    assert "from-env" not in repr(CompanionClient()) + repr(AsyncCompanionClient()) + repr(endpoint(None, None))


@pytest.mark.parametrize("option", ["connect_timeout_s", "read_timeout_s", "quiet_timeout_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_there_is_always_a_time_out(option: str, value: float) -> None:
    with pytest.raises(ValueError, match="time-out"):
        CompanionClient("https://c.example", key="k", **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("attempts", [0, -1, 21, True, 1.5])
def test_attempts_are_bounded(attempts: int) -> None:
    with pytest.raises(ValueError, match="attempts"):
        CompanionClient("https://c.example", key="k", attempts=attempts)


def test_a_context_that_does_not_verify_is_refused() -> None:
    lax, half = ssl.create_default_context(), ssl.create_default_context()
    lax.check_hostname = half.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    for context in (lax, half):
        with pytest.raises(ValueError, match="verify"):
            CompanionClient("https://c.example", key="k", tls=context)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost` that stands for itself."""
    pytest.importorskip("cryptography", reason="certificates are made with the package cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder


def test_tls_is_verified(certificates: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    trusting = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
    with FakeCompanion(tls=serving) as companion:
        companion.add("s1")
        with CompanionClient(companion.url, key=companion.key, tls=trusting) as client:
            for _ in range(3):
                assert client.get_session("s1").id == "s1"
            assert companion.connections == 1
            companion.hang_up()
            assert client.get_session("s1").id == "s1"
            companion.set("s1", status="terminated")
            assert [event.event for event in client.events("s1")] == ["status"]
        by_address = companion.url.replace("localhost", "127.0.0.1")
        for url, tls in ((companion.url, None), (by_address, trusting)):
            with (
                CompanionClient(url, key=companion.key, tls=tls, attempts=1) as misled,
                pytest.raises(Unreachable, match="not trusted"),
            ):
                misled.get_session("s1")
        assert len(companion.requests) == 5
