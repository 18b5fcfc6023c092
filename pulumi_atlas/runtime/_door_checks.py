"""What is wrong with the names by which the companion is reached, who may use it from a browser, and what counts as activity."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pulumi_atlas.config import Fault, RawSection
from pulumi_atlas.rules.sessions.opening import is_loopback
from pulumi_atlas.runtime.settings import RuntimeSettings

__all__ = ["is_host", "look"]

_LABELS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_SOURCE = re.compile(r"[a-z0-9_-]{1,32}")


def look(section: RawSection, settings: RuntimeSettings, environ: Mapping[str, str]) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings."""
    faults = [*_hosts(section, settings), *_origins(section, settings), *_proxies(section, settings)]
    return [*faults, *_sources(section, settings)], [
        *_plain_http(section, settings),
        *_own_name(section, settings),
    ]


def is_host(text: str) -> bool:
    """Whether it is a host name or an address, with or without a port."""
    name, _, port = text.rpartition(":") if re.fullmatch(r"(\[.*\]|[^:]*):\d{1,5}", text) else (text, "", "")
    if port and not 0 < int(port) < 65536:
        return False
    if name.startswith("[") or ":" in name:
        return _is_address(name.removeprefix("[").removesuffix("]"))
    return len(name) <= 253 and _LABELS.fullmatch(name) is not None


def _hosts(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    for place, host in enumerate(settings.hosts):
        if "://" in host or "/" in host:
            hint = "write the name alone: sessions.example"
            yield section.fault(("hosts", place), "is a URL, not a host", hint)
        elif not is_host(host):
            hint = "write a name or an address, each by itself; there are no wildcards"
            yield section.fault(("hosts", place), "is no name of a host", hint)
    public, _ = _host_and_port(settings.public_url) if settings.public_url else (None, None)
    if settings.hosts and public is not None and public not in _names(settings):
        hint = f"add {public} to runtime.hosts"
        yield section.fault(("public_url",), "is called by a name that is not in hosts, so it would be refused", hint)


def _own_name(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    """Where `hosts` is set, nothing else is answered: not even this machine's own commands."""
    if settings.hosts and not any(is_loopback(name) for name in _names(settings)):
        hint = "add 127.0.0.1, or give those commands --url with a name that is there"
        yield section.fault(("hosts",), "leaves out this machine: `atlas runtime` on it is refused", hint)


def _names(settings: RuntimeSettings) -> set[str]:
    """The hosts in lower case, without ports."""
    return {_host_and_port(f"//{host}")[0] or host for host in settings.hosts}


def _origins(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    for place, origin in enumerate(settings.origins):
        host, port = _host_and_port(origin)
        if host is None or "*" in origin or not is_host(host):
            hint = "write scheme, host and maybe a port, as a browser sends it: https://app.example"
            yield section.fault(("origins", place), "is no origin of a web page", hint)
        elif origin != origin.lower() or port == {"https": 443, "http": 80}[origin.partition(":")[0]]:
            hint = "lower case, and no port where it is the scheme's own"
            yield section.fault(("origins", place), "is spelled as no browser sends it", hint)


def _proxies(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    for place, network in enumerate(settings.trusted_proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            hint = "write an address or a network: 10.0.0.0/8"
            yield section.fault(("trusted_proxies", place), "is no network", hint)


def _sources(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    for place, source in enumerate(settings.touch_sources):
        if not _SOURCE.fullmatch(source):
            hint = "1 to 32 lower-case letters, digits, dashes or underscores"
            yield section.fault(("touch_sources", place), "is no name of a source", hint)


def _plain_http(section: RawSection, settings: RuntimeSettings) -> Iterator[Fault]:
    url = settings.public_url
    host, _ = _host_and_port(url) if url else (None, None)
    if url and url.startswith("http://") and host and not is_loopback(host):
        message = "is plain http beyond this machine: keys and tokens travel in clear"
        yield section.fault(("public_url",), message, "put a proxy with TLS before it, and write https://")


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port
    except ValueError:
        return None, None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
