"""One attempt: the host is looked up, each address is judged, and the request goes to the very address that was allowed.

So a name that answers otherwise a moment later changes nothing. The certificate is checked against the name, and `Host` is
the name. Proxies and credentials of the environment are not used, redirects are not followed, cookies are not kept.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import httpx

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.rules.clock import Clock
from pulumi_atlas.rules.sessions.addresses import Address, Network, judge_address
from pulumi_atlas.rules.sessions.webhooks import Answer, retry_after_s

__all__ = ["TIMEOUT_S", "Door", "Refused", "Resolve", "look_up"]

#: For everything: looking up, connecting, sending, and the head of the answer.
TIMEOUT_S = 20.0
#: So many addresses of a name are tried.
_ADDRESSES = 4

#: Addresses of a host, best first. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Refused(Exception):
    """The request may not go where its host leads."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """By the system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Door:
    """To one URL. `allowed`: networks beyond the public internet that it may lead to. Raises ConfigError for a bad URL."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        allowed: Sequence[Network] = (),
        resolve: Resolve = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url, self._scheme = _checked(url)
        self._host = self._url.hostname or ""
        self._port = self._url.port or (443 if self._scheme == "https" else 80)
        self._clock, self._allowed, self._resolve = clock, tuple(allowed), resolve
        self._client = httpx.AsyncClient(
            verify=tls if tls is not None else self._scheme == "https",  # without TLS no authorities are read
            trust_env=False,
            follow_redirects=False,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            headers={"User-Agent": "pulumi-atlas"},
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def post(self, body: str, headers: Mapping[str, str]) -> Answer:
        """The answer; also why there is none. Raises Refused when it may go to no address of the host."""
        work = asyncio.ensure_future(self._post(body, headers))
        alarm = asyncio.ensure_future(self._clock.sleep(TIMEOUT_S))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            alarm.cancel()
            work.cancel()
            await asyncio.wait({work, alarm})  # its connection is closed then
            if not work.cancelled():
                work.exception()
        return Answer(None, error=f"no answer in {TIMEOUT_S:g} s")

    async def _post(self, body: str, headers: Mapping[str, str]) -> Answer:
        try:
            addresses = await self._addresses()
        except (OSError, ValueError):
            return Answer(None, error="its host is not found")
        for address in addresses:
            try:
                return await self._send(address, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing was sent: the next address may answer
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
                return Answer(None, error=f"no answer: {type(error).__name__}")
        return Answer(None, error="no connection")

    async def _addresses(self) -> list[Address]:
        """Those that it may go to."""
        found = [ipaddress.ip_address(text) for text in await self._resolve(self._host, self._port)]
        judged = [(one, judge_address(one, scheme=self._scheme, allowed=self._allowed)) for one in found]
        good = [one for one, why in judged if why is None]
        if judged and not good:
            raise Refused(str(judged[0][1]))
        return good[:_ADDRESSES]

    async def _send(self, address: Address, body: str, headers: Mapping[str, str]) -> Answer:
        host = f"[{address}]" if address.version == 6 else str(address)
        url = self._url._replace(netloc=f"{host}:{self._port}", fragment="").geturl()
        extensions = {"sni_hostname": self._host} if self._scheme == "https" else {}
        request = self._client.build_request(
            "POST",
            url,
            content=body.encode(),
            headers={"Content-Type": "application/json", "Host": self._url.netloc, **headers},
            extensions=extensions | {"timeout": httpx.Timeout(TIMEOUT_S).as_dict()},
        )
        response = await self._client.send(request, stream=True)
        # The head is the answer. The body, which may never end, is not read, and the connection goes with it.
        await response.aclose()
        self._client.cookies.clear()
        return Answer(response.status_code, retry_after_s(response.headers.get("retry-after"), now=self._clock.now()))


def _checked(url: str) -> tuple[SplitResult, Literal["http", "https"]]:
    try:
        parts = urlsplit(url)
        host, user, _ = parts.hostname, parts.username, parts.port
    except ValueError:
        raise ConfigError("a webhook's url is no address") from None
    if not host or user is not None or parts.scheme not in ("http", "https") or not url.isascii():
        raise ConfigError("a webhook's url is https://host/path in ASCII, without a user name")
    return parts, "https" if parts.scheme == "https" else "http"
