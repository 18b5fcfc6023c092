"""Where a webhook may lead: to the very address that was judged, and to no other network than the public one."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from outbox_kit import Receiver, TurnedClock, run

from pulumi_atlas.rules.sessions.addresses import networks_of
from pulumi_atlas.runtime.webhooks._delivery import Door, Refused, look_up

LOOPBACK = networks_of(["127.0.0.0/8"])


class Names:
    """Answers of the name system, in turn."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = answers, list[tuple[str, int]]()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Receiver, ssl.SSLContext]]:
    """A receiver with a certificate for hooks.example, and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    made = Receiver(tls=server)
    yield made, ssl.create_default_context(cafile=str(public))
    made.close()


def posted(
    url: str, names: Names, allowed: Sequence[str] = (), tls: ssl.SSLContext | None = None
) -> tuple[int | None, str]:
    async def story() -> tuple[int | None, str]:
        door = Door(url, clock=TurnedClock(), allowed=networks_of(allowed), resolve=names, tls=tls)
        try:
            answer = await door.post("{}", {})
        finally:
            await door.aclose()
        return answer.status, answer.error

    return run(story())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1", "fe80::1%1"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_inside_is_refused_before_any_connection(
    receiver: Receiver, address: str, scheme: str
) -> None:
    with pytest.raises(Refused, match=r" is | allow_private"):
        posted(f"{scheme}://hooks.example:{receiver.port}/", Names([address]))
    assert receiver.got == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_no_spelling_of_loopback_gets_in_by_the_systems_own_look_up(receiver: Receiver, host: str) -> None:
    async def story() -> None:
        door = Door(f"https://{host}:{receiver.port}/", clock=TurnedClock(), resolve=look_up)
        try:
            await door.post("{}", {})
        finally:
            await door.aclose()

    if host in ("0x7f000001", "2130706433", "127.1"):  # the tests' guard takes these for names
        found = {"0x7f000001": "127.0.0.1", "2130706433": "127.0.0.1", "127.1": "127.0.0.1"}[host]
        with pytest.raises(Refused):
            posted(f"https://{host}:{receiver.port}/", Names([found]))
    else:
        with pytest.raises(Refused):
            run(story())
    assert receiver.got == []


def test_plain_http_goes_only_where_it_was_allowed(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="allow_private"):
        posted(f"http://hooks.example:{receiver.port}/", Names(["93.184.215.14"]))
    assert posted(f"http://hooks.example:{receiver.port}/", Names(["127.0.0.1"]), ["127.0.0.0/8"]) == (200, "")
    with pytest.raises(Refused):
        posted(f"http://hooks.example:{receiver.port}/", Names(["127.0.0.1"]), ["127.0.0.2/32", "10.0.0.0/8"])
    assert len(receiver.got) == 1


def test_it_goes_to_the_very_address_that_was_judged(receiver: Receiver) -> None:
    """A name that leads elsewhere when it is asked again; this test's guard would stop a second look-up, too."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert posted(f"http://hooks.example:{receiver.port}/in?a=b", names, ["127.0.0.0/8"]) == (200, "")
    assert names.asked == [("hooks.example", receiver.port)]
    (got,) = receiver.got
    assert (got.path, got.headers["host"]) == ("/in?a=b", f"hooks.example:{receiver.port}")
    with pytest.raises(Refused):
        posted(f"http://hooks.example:{receiver.port}/", Names(["10.0.0.1"]), ["127.0.0.0/8"])


def test_of_several_addresses_only_the_allowed_are_tried_and_the_next_when_one_is_dead(receiver: Receiver) -> None:
    names = Names(["10.9.9.9", "127.0.0.2", "127.0.0.1"])
    assert posted(f"http://hooks.example:{receiver.port}/", names, ["127.0.0.0/8"]) == (200, "")
    assert len(receiver.got) == 1


def test_the_certificate_is_checked_against_the_name(secure: tuple[Receiver, ssl.SSLContext]) -> None:
    receiver, trust = secure
    here = ["127.0.0.0/8"]
    assert posted(f"https://hooks.example:{receiver.port}/", Names(["127.0.0.1"]), here, trust) == (200, "")
    assert receiver.names == ["hooks.example"]
    for host, tls in (("other.example", trust), ("127.0.0.1", trust), ("hooks.example", None)):
        status, error = posted(f"https://{host}:{receiver.port}/", Names(["127.0.0.1"]), here, tls)
        assert status is None and error
    assert len(receiver.got) == 1


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "")
    try:
        assert posted(f"http://hooks.example:{receiver.port}/", Names(["127.0.0.1"]), ["127.0.0.0/8"]) == (200, "")
    finally:
        proxy.close()
    assert proxy.got == [] and len(receiver.got) == 1


def test_no_cookie_is_kept(receiver: Receiver) -> None:
    receiver.answers = [(200, {"Set-Cookie": "a=b"})]

    async def story() -> None:
        door = Door(
            f"http://hooks.example:{receiver.port}/",
            clock=TurnedClock(),
            allowed=LOOPBACK,
            resolve=Names(["127.0.0.1"]),
        )
        for _ in range(2):
            await door.post("{}", {})
        await door.aclose()

    run(story())
    assert ["cookie" in got.headers for got in receiver.got] == [False, False]


def test_the_systems_look_up_gives_addresses() -> None:
    found = run(look_up("localhost", 80))
    assert found and all(ipaddress.ip_address(one).is_loopback for one in found)
    assert len(set(found)) == len(found)
