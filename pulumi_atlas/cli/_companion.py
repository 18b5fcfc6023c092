"""A running companion, asked over HTTP: verbs in, plain JSON out, and every refusal as one of our errors."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pulumi_atlas.cli._problem import refusal
from pulumi_atlas.errors import ConfigError, ProviderFailure, TransportError, UnknownOutcome

if TYPE_CHECKING:
    pass

__all__ = ["Companion"]

CONNECT_S, READ_S = 5.0, 60.0
#: Longer than the companion's silence on a stream of events: a comment comes at least every 15 s.
STREAM_S = 45.0
#: The most that one request waits for; the companion's own bound is 300.
MOST_WAIT_S = 30.0
#: How often a creation whose answer was lost is asked for again: the same key gives the same session.
TRIES = 3


class Companion:
    """One companion. A context: closed at its end. `url` without a slash at its end; `key` never appears in an error."""

    def __init__(self, url: str, key: str) -> None:
        import httpx  # here, so that help and completion do not pay for it

        self.url, self._key = url, key
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            trust_env=not _is_here(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """What a GET answers. Raises as `refusal` says, and TransportError when nobody answers."""
        return self._ask("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """What a POST answers. All our POSTs but the opening of a session may be repeated."""
        return self._ask("POST", path, body=body, query=query)

    def delete(self, path: str, **query: Any) -> Any:
        return self._ask("DELETE", path, query=query)

    def open(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Open a session. A lost answer is asked for again under the same idempotency key, so there is never a second one.

        Raises UnknownOutcome when the answer stayed lost: the session may be there.
        """
        again = {"Idempotency-Key": f"cli-{secrets.token_hex(16)}"}
        for left in reversed(range(TRIES)):
            try:
                opened: dict[str, Any] = self._ask("POST", "/v1/sessions", body=body, headers=again)
                return opened
            except Lost as error:
                if not left:
                    hint = "`atlas session list` shows whether it is there"
                    raise UnknownOutcome(f"the answer to the opening was lost: {error.message}", hint=hint) from None
        raise AssertionError("not reached")

    def pages(self, **query: Any) -> Iterator[dict[str, Any]]:
        """All sessions that match, page by page."""
        cursor = None
        while True:
            page = self.get("/v1/sessions", cursor=cursor, **query)
            yield from page["sessions"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    @contextmanager
    def stream(self, path: str, *, after: str | None) -> Iterator[Iterator[str]]:
        """The lines of an event stream. Raises TransportError when it breaks off; its end is the end of the lines."""
        import httpx

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after is not None else {})}
        timeout = httpx.Timeout(STREAM_S, connect=CONNECT_S)
        with self._reached(), self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.status_code == 204:
                yield iter(())
                return
            if answer.status_code != 200:
                answer.read()
                raise refusal(answer, self._key)
            yield answer.iter_lines()

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        with self._reached():
            answer = self._http.request(method, path, params=params, json=body, headers=dict(headers or {}))
        if answer.status_code >= 300:
            raise refusal(answer, self._key)
        if answer.status_code == 204 or not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            message = f"{self.url} answered with something that is not JSON"
            raise ProviderFailure(message, hint="is this the companion's address?") from None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.ConnectError as error:
            raise self._nobody(error) from None
        except (httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise TransportError(f"{self.url} cannot be reached: {error}", hint=_where()) from None
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise Lost(f"{self.url} did not answer: {why}", hint="is it running? `atlas runtime status` asks") from None

    def _nobody(self, error: Exception) -> TransportError:
        text = str(error)
        if "CERTIFICATE" in text.upper():
            return TransportError(f"{self.url}: its certificate is not trusted", hint=text)
        if not _is_here(self.url):
            return TransportError(f"{self.url} cannot be reached: {text}", hint=_where())
        hint = f"start one with `atlas runtime serve`, or {_where()}"
        return TransportError(f"no companion answers at {self.url}", hint=hint)


class Lost(TransportError):
    """The request may have arrived; its answer did not."""


def checked(url: str) -> str:
    """The URL without a slash at its end. Raises ConfigError when it is none, or would show the key to the network."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"{url!r} is no address of a companion", hint=_where())
    if parts.scheme == "http" and not _is_here(url) and os.environ.get("ATLAS_ALLOW_HTTP") != "1":
        hint = "write https://, or set ATLAS_ALLOW_HTTP=1 where the network is trusted"
        raise ConfigError(f"{url} is plain http: the key would travel in clear", hint=hint)
    return url.rstrip("/")


def _is_here(url: str) -> bool:
    import ipaddress
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _where() -> str:
    return "say where it is: --url, or ATLAS_COMPANION_URL"
