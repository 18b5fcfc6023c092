"""What is wrong with the session templates of atlas.yaml: specs, their provider's abilities, keys, variables, leases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pulumi_atlas import config
from pulumi_atlas.client import validation
from pulumi_atlas.config import Fault, RawSection, Settings
from pulumi_atlas.errors import AtlasError
from pulumi_atlas.models.session import SessionSpec
from pulumi_atlas.providers import registry
from pulumi_atlas.providers.contract import Provider, abilities
from pulumi_atlas.rules.sessions.opening import reserved_names
from pulumi_atlas.runtime._addresses import is_loopback_url
from pulumi_atlas.runtime.settings import RuntimeSettings, SessionTemplate

__all__ = ["look"]

_STEP = re.compile(r"[^.\[\]]+|\[(\d+)\]")


def look(
    section: RawSection, settings: RuntimeSettings | None, general: Settings, environ: Mapping[str, str]
) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings. Without `settings` (their form is wrong) only what stands in the specs is looked at."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for name, raw in _mappings(section.value.get("templates")):
        at = _Template(section, name, raw, general, environ)
        faults += at.spec_faults()
        template = settings.templates.get(name) if settings else None
        if template is None or settings is None:
            continue
        faults += at.variable_faults(template)
        faults += at.lease_faults(template, settings)
        kind = at.provider()
        if kind is not None:
            faults += at.place_faults(kind, settings)
            warnings += at.pause_warnings(kind, template, settings)
    return faults, warnings


class _Template:
    """One template as it stands in the file."""

    def __init__(
        self, section: RawSection, name: str, raw: Mapping[str, Any], general: Settings, environ: Mapping[str, str]
    ) -> None:
        self.section, self.name, self.general, self.environ = section, name, general, environ
        spec = raw.get("spec")
        self.spec: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {}
        self.has_spec = isinstance(spec, Mapping)
        self.also = ("ATLAS_ORIGINS",) if section.value.get("origins") else ()

    def fault(self, *steps: int | str, message: str, hint: str = "") -> Fault:
        return self.section.fault(("templates", self.name, *steps), message, hint)

    def provider(self) -> type[Provider] | None:
        """The class of its provider; None when it names none that there is."""
        try:
            return registry.load(self._provider_name())
        except AtlasError:
            return None

    def spec_faults(self) -> Iterator[Fault]:
        """What the model, the catalog, the provider's abilities and the key say."""
        if not self.has_spec:
            return
        try:
            name = self._provider_name()
            kind = registry.load(name)
        except AtlasError as error:
            yield self.fault("spec", "provider", message=error.message, hint=error.hint)
            return
        pod = {key: value for key, value in self.spec.items() if value is not None}
        for failure in validation.check_pod(SessionSpec, {**pod, "provider": name}):
            yield self.fault("spec", *_steps(failure.path), message=failure.message, hint=failure.hint)
        given = self.spec.get("env")
        for failure in reserved_names(given if isinstance(given, Mapping) else {}, also=self.also):
            yield self.fault("spec", *_steps(failure.path), message=failure.message, hint=failure.hint)
        if "env" not in kind.accepts:
            hint = "a session tells its pod where to report activity and what verifies visitors"
            yield self.fault("spec", "provider", message=f"pods of {kind.name} take no environment", hint=hint)
        yield from self._key_faults(kind)

    def variable_faults(self, template: SessionTemplate) -> Iterator[Fault]:
        """Variables that are to be handed on and are not there, or that the spec sets too."""
        given = self.spec.get("env")
        for place, name in enumerate(template.env_from):
            if not self.environ.get(name):
                hint = f"set {name} where the companion is started"
                yield self.fault("env_from", place, message=f"{name} is not set here, or empty", hint=hint)
            for failure in reserved_names({name: ""}, also=self.also):
                yield self.fault("env_from", place, message=f"{name} {failure.message}", hint=failure.hint)
            if isinstance(given, Mapping) and name in given:
                message = f"{name} stands in spec.env too"
                yield self.fault("env_from", place, message=message, hint="keep one of them")

    def lease_faults(self, template: SessionTemplate, settings: RuntimeSettings) -> Iterator[Fault]:
        """What the template asks for itself and the limits forbid."""
        limits = settings.limits
        pairs = (
            ("idle_ttl_s", template.idle_ttl_s, "max_idle_ttl_s", limits.max_idle_ttl_s),
            ("max_lifetime_s", template.max_lifetime_s, "max_lifetime_s", limits.max_lifetime_s),
            ("budget", template.budget, "max_budget", limits.max_budget),
        )
        for name, value, limit, most in pairs:
            if value is not None and most is not None and value > most:
                yield self.fault(name, message=f"is more than limits.{limit}, which is {most:g}")

    def place_faults(self, kind: type[Provider], settings: RuntimeSettings) -> Iterator[Fault]:
        """A pod elsewhere cannot reach a companion that has no address there."""
        if "reach" in abilities(kind) or not is_loopback_url(settings.public_url):
            return
        what = "public_url is missing" if settings.public_url is None else f"public_url is {settings.public_url}"
        message = f"pods of {kind.name} are not on this machine, and {what}: they could not report activity"
        yield self.fault("spec", "provider", message=message, hint="set runtime.public_url to what they can reach")

    def pause_warnings(
        self, kind: type[Provider], template: SessionTemplate, settings: RuntimeSettings
    ) -> Iterator[Fault]:
        if (template.on_idle or settings.on_idle) == "stop" and "stop" not in abilities(kind):
            message = f"{kind.name} cannot stop pods, so idle ones are terminated"
            yield self.fault("on_idle", message=message, hint="say `on_idle: terminate`, which is what happens")

    def _key_faults(self, kind: type[Provider]) -> Iterator[Fault]:
        account = self.spec.get("account")
        try:
            config.resolve_access(
                kind.name,
                account=account if isinstance(account, str) else None,
                key_variable=kind.key_variable,
                settings=self.general,
                environ=self.environ,
            )
        except AtlasError as error:
            where = "account" if account else "provider"
            yield self.fault("spec", where, message=error.message, hint=error.hint)

    def _provider_name(self) -> str:
        name, account = self.spec.get("provider"), self.spec.get("account")
        return config.choose_provider(
            name if isinstance(name, str) else None,
            None,
            self.general,
            self.environ,
            account=account if isinstance(account, str) else None,
        )


def _steps(path: str) -> Iterator[int | str]:
    """`ports[1].number` as steps into the file."""
    for match in _STEP.finditer(path):
        yield int(match[1]) if match[1] is not None else match[0]


def _mappings(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Mapping):
                yield str(name), cast("Mapping[str, Any]", inner)
