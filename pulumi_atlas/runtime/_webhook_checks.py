"""What is wrong with the webhooks of atlas.yaml: addresses, secrets, kinds of events, networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pulumi_atlas import config
from pulumi_atlas.config import Fault, RawSection
from pulumi_atlas.models.session import EVENT_KINDS
from pulumi_atlas.rules.sessions.webhook_secret import FORM, PREFIX, is_webhook_secret
from pulumi_atlas.rules.validation import did_you_mean
from pulumi_atlas.runtime._addresses import is_loopback_url
from pulumi_atlas.runtime.settings import RuntimeSettings, Webhook

__all__ = ["look"]


def look(section: RawSection, settings: RuntimeSettings, environ: Mapping[str, str]) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for name, hook in settings.webhooks.items():
        at = _Webhook(section, name, hook, environ)
        faults += [*at.address_faults(), *at.secret_faults(), *at.kind_faults(), *at.network_faults()]
        warnings += at.warnings()
    return faults, warnings


class _Webhook:
    """One webhook as it stands in the file."""

    def __init__(self, section: RawSection, name: str, hook: Webhook, environ: Mapping[str, str]) -> None:
        self.section, self.name, self.hook, self.environ = section, name, hook, environ

    def fault(self, *steps: int | str, message: str, hint: str = "") -> Fault:
        return self.section.fault(("webhooks", self.name, *steps), message, hint)

    def address_faults(self) -> Iterator[Fault]:
        try:
            parts = urlsplit(self.hook.url)
            host, user, _ = parts.hostname, parts.username, parts.port
        except ValueError:
            host, user = None, None
        if not host:
            yield self.fault("url", message="is no address", hint="write https://host/path")
        elif user is not None:
            yield self.fault("url", message="holds a user name", hint="events are signed; leave it out")

    def secret_faults(self) -> Iterator[Fault]:
        """The secret is there, and each of its parts is one. Never shows it."""
        where = "secret_env" if self.hook.secret_env else "secret_file"
        try:
            text = self._secret()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            yield self.fault(where, message=f"cannot be read: {why}", hint=self._make())
            return
        if not text.strip():
            yield self.fault(where, message="names nothing, or what is empty", hint=self._make())
            return
        for number, part in enumerate(text.strip().split(","), 1):
            if not is_webhook_secret(part.strip()):
                what = "the secret" if "," not in text else f"secret {number}"
                message = f"{what} is none of Standard Webhooks: {FORM}"
                yield self.fault(where, message=message, hint=self._make())

    def kind_faults(self) -> Iterator[Fault]:
        for place, kind in enumerate(self.hook.kinds):
            if kind not in EVENT_KINDS:
                hint = did_you_mean(kind, EVENT_KINDS)
                yield self.fault("kinds", place, message="there is no such kind of event", hint=hint)

    def network_faults(self) -> Iterator[Fault]:
        for place, network in enumerate(self.hook.allow_private):
            try:
                ipaddress.ip_network(network)
            except ValueError:
                hint = "write a network: 10.1.0.0/16, or an address"
                yield self.fault("allow_private", place, message="is no network", hint=hint)

    def warnings(self) -> Iterator[Fault]:
        if self.hook.url.startswith("http://") and not is_loopback_url(self.hook.url):
            yield self.fault("url", message="is plain http: events can be read on the way", hint="write https://")
        file = self.hook.secret_file
        if file is not None and config.readable_by_others(Path(file)):
            yield self.fault("secret_file", message="can be read by others", hint=f"run `chmod 600 {file}`")

    def _secret(self) -> str:
        if self.hook.secret_env is not None:
            return self.environ.get(self.hook.secret_env, "")
        return Path(self.hook.secret_file or "").read_text(encoding="utf-8")

    def _make(self) -> str:
        return f"one is made by: echo {PREFIX}$(head -c 32 /dev/urandom | base64)"
