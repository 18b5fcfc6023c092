"""The section `runtime` of atlas.yaml, read and examined: every fault at once, with file, line and key. Nothing is started or sent.

::

    runtime:
      public_url: https://sessions.example
      idle_ttl_s: 900
      limits: {sessions_per_owner: 2}
      templates:
        studio:
          spec: {provider: local, command: [python, app.py], ports: [8000/http]}
          auth: signed_url
      webhooks:
        billing: {url: "https://billing.example/hook", secret_env: BILLING_SECRET}

What each setting means: `pulumi_atlas.runtime.settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from pulumi_atlas import config
from pulumi_atlas.config import Fault, FileRefused, RawSection
from pulumi_atlas.runtime import _door_checks, _lease_checks, _template_checks, _webhook_checks
from pulumi_atlas.runtime.settings import RuntimeSettings, Webhook

__all__ = ["Configuration", "Report", "accepted", "examine", "read"]

SECTION = "runtime"
FILE_VARIABLE = "ATLAS_CONFIG"


@dataclass(frozen=True)
class Configuration:
    """What a companion is started with. `environ`: the environment with which everything else finds the same file.

    `file`: None when there is no atlas.yaml; then everything has its default.
    """

    settings: RuntimeSettings
    file: Path | None
    environ: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Report:
    """What an examination found. `settings`: None when the section does not even have the right form.

    A fault is something that cannot work as it is written. A warning is something that works, and may not be meant.
    """

    file: Path | None
    settings: RuntimeSettings | None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.faults


def read(
    file: Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Configuration:
    """The settings of `file`, or of the atlas.yaml that counts, when nothing is wrong with them.

    Raises FileRefused with every fault, and ConfigError when the file cannot be read.
    """
    return accepted(examine(file, cwd=cwd, environ=environ), environ)


def accepted(report: Report, environ: Mapping[str, str] | None = None) -> Configuration:
    """The settings of a report without faults. Raises FileRefused with every fault."""
    if report.settings is None or report.faults:
        raise FileRefused(report.faults)
    return Configuration(report.settings, report.file, _environ(report.file, environ))


def examine(file: Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Report:
    """Everything that can be said about the settings without starting or asking anything.

    Raises FileRefused when the file is no YAML or when its other sections are wrong, ConfigError when it cannot be read.
    """
    env = os.environ if environ is None else environ
    section = config.load_section(SECTION, file=file, cwd=cwd, environ=env)
    settings, faults = _parsed(section)
    env = _environ(section.file, env)
    general = config.load(cwd=cwd, environ=env)
    found, warnings = _template_checks.look(section, settings, general, env)
    faults += found
    if settings is not None:
        for look in (_lease_checks.look, _door_checks.look, _webhook_checks.look):
            found, more = look(section, settings, env)
            faults += found
            warnings += more
    return Report(section.file, settings, _in_order(faults), _in_order(warnings))


def _parsed(section: RawSection) -> tuple[RuntimeSettings | None, list[Fault]]:
    try:
        settings = RuntimeSettings.model_validate(section.value)
    except ValidationError as error:
        return None, section.faults_of(error, RuntimeSettings)
    return settings.model_copy(update={"webhooks": _placed(settings, section.file)}), []


def _placed(settings: RuntimeSettings, file: Path | None) -> dict[str, Webhook]:
    """Webhooks whose secret files are named from where atlas.yaml is."""
    base = file.parent if file else Path.cwd()
    return {
        name: hook
        if hook.secret_file is None
        else hook.model_copy(update={"secret_file": str(base / Path(hook.secret_file).expanduser())})
        for name, hook in settings.webhooks.items()
    }


def _environ(file: Path | None, environ: Mapping[str, str] | None) -> Mapping[str, str]:
    env = os.environ if environ is None else environ
    return {**env, FILE_VARIABLE: str(file)} if file is not None else env


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.line))
