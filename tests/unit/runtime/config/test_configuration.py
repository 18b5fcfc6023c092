"""The section `runtime` of atlas.yaml: what it may say, and every fault told at once with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_atlas import config
from pulumi_atlas.config import FileRefused
from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.configuration import Report, examine, read
from pulumi_atlas.runtime.settings import RuntimeSettings

SECRET = "whsec_" + "A" * 43 + "="

WHOLE = """
provider: mock
runtime:
  public_url: https://sessions.example
  idle_ttl_s: 600
  max_lifetime_s: null
  limits: {sessions_per_owner: 2, owner_budget: 20.0}
  origins: [https://app.example, "http://localhost:5173"]
  templates:
    studio:
      spec:
        provider: local
        command: [python3, app.py]
        ports: [8000/http]
      env_from: [MODEL_KEY]
      auth: signed_url
      on_idle: stop
  webhooks:
    billing: {url: "https://billing.example/hook", secret_env: BILLING, kinds: [status]}
"""


def put(folder: Path, text: str) -> Path:
    path = folder / "atlas.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def examined(folder: Path, text: str, **environ: str) -> Report:
    return examine(put(folder, text), environ={"HOME": str(folder), **environ})


def told(report: Report) -> list[str]:
    return [str(fault).removeprefix(str(report.file)) for fault in report.faults]


def test_a_whole_section_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    found = read(path, environ={"MODEL_KEY": "x", "BILLING": SECRET})
    assert found.settings.idle_ttl_s == 600
    assert found.settings.max_lifetime_s is None
    assert found.settings.limits.sessions_per_owner == 2
    assert found.settings.templates["studio"].auth == "signed_url"
    assert found.environ["ATLAS_CONFIG"] == str(path)
    assert examine(path, environ={"MODEL_KEY": "x", "BILLING": SECRET}).warnings == ()


def test_the_other_readers_of_the_file_do_not_mind_the_section(tmp_path: Path) -> None:
    put(tmp_path, WHOLE)
    assert config.load(cwd=tmp_path, environ={}).provider == "mock"


def test_without_a_file_and_without_the_section_everything_has_its_default(tmp_path: Path) -> None:
    nothing = read(cwd=tmp_path, environ={"HOME": str(tmp_path)})
    assert (nothing.settings, nothing.file) == (RuntimeSettings(), None)
    path = put(tmp_path, "provider: mock\nruntime:\n")
    found = read(cwd=tmp_path, environ={"HOME": str(tmp_path)})
    assert (found.settings, found.file) == (RuntimeSettings(), path)


def test_the_file_that_atlas_config_names_counts(tmp_path: Path) -> None:
    path = put(tmp_path, "runtime: {idle_ttl_s: 77}\n")
    (tmp_path / "elsewhere").mkdir()
    environ = {"ATLAS_CONFIG": str(path)}
    assert read(cwd=tmp_path / "elsewhere", environ=environ).settings.idle_ttl_s == 77
    with pytest.raises(ConfigError, match="there is no file"):
        read(tmp_path / "none.yaml", environ={})


def test_what_is_left_blank_has_its_default_and_a_written_null_is_none(tmp_path: Path) -> None:
    assert read(put(tmp_path, "runtime:\n  max_lifetime_s:\n"), environ={}).settings.max_lifetime_s == 24 * 3600
    assert read(put(tmp_path, "runtime:\n  max_lifetime_s: null\n"), environ={}).settings.max_lifetime_s is None
    assert read(put(tmp_path, "runtime:\n  max_lifetime_s: ~\n"), environ={}).settings.max_lifetime_s is None
    assert told(examined(tmp_path, "runtime:\n  idle_ttl_s: null\n")) == [
        ":2: runtime.idle_ttl_s: input should be a valid number"
    ]


# ruff: noqa: E501 (one fault a line)
ONE_FAULT = [
    ("runtime:\n  idle_ttl: 5\n", ":2: runtime.idle_ttl: there is no such setting (did you mean 'idle_ttl_s'?)"),
    ("runtime:\n  idle_ttl_s: -5\n", ":2: runtime.idle_ttl_s: input should be greater than 0"),
    ("runtime:\n  limits:\n    sesions: 5\n", ":3: runtime.limits.sesions: there is no such setting (did you mean 'sessions'?)"),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: mock, command: [x]}\n      idle_ttl: 5\n",
        ":5: runtime.templates.a.idle_ttl: there is no such setting (did you mean 'idle_ttl_s'?)",
    ),
    ("runtime:\n  templates:\n    a: {auth: none}\n", ":3: runtime.templates.a.spec: field required"),
    ("runtime:\n  origins:\n  - https://a.example\n  - b.example\n", ":4: runtime.origins.1: string should match pattern"),
    ("runtime:\n  grace_s: 30\n", ":1: runtime: grace_s is at least flush_interval_s + 60, which is 65"),
    (
        "runtime:\n  templates:\n    a:\n      spec:\n        provider: local\n        command: [x]\n        enw: {}\n",
        ":7: runtime.templates.a.spec.enw: ",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec:\n        provider: local\n        command: [x]\n        ports:\n        - 80/http\n        - x/y\n",
        ":9: runtime.templates.a.spec.ports.1: ",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec:\n        provider: lokal\n",
        ":5: runtime.templates.a.spec.provider: there is no provider 'lokal' (did you mean 'local'?",
    ),
    ("runtime:\n  templates:\n    a:\n      spec: {command: [x]}\n", ":4: runtime.templates.a.spec.provider: no provider is chosen"),
    (
        "runtime:\n  templates:\n    a:\n      spec:\n        provider: local\n        image: x\n        command: [y]\n",
        ":6: runtime.templates.a.spec.image: not possible with provider 'local'",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: local, command: [x]}\n      env_from:\n      - HAVE\n      - HAVE_NOT\n",
        ":7: runtime.templates.a.env_from.1: HAVE_NOT is not set here, or empty",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: local, command: [x], env: {HAVE: '1'}}\n      env_from: [HAVE]\n",
        ":5: runtime.templates.a.env_from.0: HAVE stands in spec.env too",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: local, account: team, command: [x]}\n",
        ":4: runtime.templates.a.spec.account: there is no account 'team'",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: mock, command: [x]}\n",
        ":4: runtime.templates.a.spec.provider: pods of mock are not on this machine, and public_url is missing",
    ),
    (
        "runtime:\n  public_url: http://127.0.0.1:8765\n  templates:\n    a:\n      spec: {provider: mock, command: [x]}\n",
        ":5: runtime.templates.a.spec.provider: pods of mock are not on this machine, and public_url is http://127",
    ),
    (
        "runtime:\n  templates:\n    a:\n      spec: {provider: local, command: [x], env: {ATLAS_GUARD_KEY: s3cret}}\n",
        ":4: runtime.templates.a.spec.env.ATLAS_GUARD_KEY: is set by the companion",
    ),
    (
        "runtime:\n  origins: ['https://a.example']\n  templates:\n    a:\n      spec: {provider: local, command: [x]}\n      env_from: [ATLAS_ORIGINS]\n",
        ":6: runtime.templates.a.env_from.0: ATLAS_ORIGINS is set by the companion",
    ),
    ("runtime:\n  limits: {max_idle_ttl_s: 60}\n", ":2: runtime.limits.max_idle_ttl_s: the default idle_ttl_s is 900"),
    (
        "runtime:\n  idle_ttl_s: 90\n  limits: {max_idle_ttl_s: 60}\n",
        ":2: runtime.idle_ttl_s: the default idle_ttl_s is 90, and limits.max_idle_ttl_s 60",
    ),
    ("runtime:\n  max_lifetime_s: null\n  limits: {max_lifetime_s: 60}\n", ":2: runtime.max_lifetime_s: is none, and limits"),
    ("runtime:\n  limits:\n    sessions: 2\n    sessions_per_owner: 3\n", ":4: runtime.limits.sessions_per_owner: is more"),
    (
        "runtime:\n  limits: {max_budget: 3}\n  templates:\n    a:\n      spec: {provider: local, command: [x]}\n      budget: 4\n",
        ":6: runtime.templates.a.budget: is more than limits.max_budget, which is 3",
    ),
    ("runtime:\n  hosts: [https://x.example]\n", ":2: runtime.hosts.0: is a URL, not a host"),
    ("runtime:\n  hosts: [x.example, '*.example']\n", ":2: runtime.hosts.1: is no name of a host"),
    ("runtime:\n  hosts: ['x.example:70000']\n", ":2: runtime.hosts.0: is no name of a host"),
    ("runtime:\n  public_url: https://a.example\n  hosts: [b.example, localhost]\n", ":2: runtime.public_url: is called by a name that"),
    ("runtime:\n  origins: ['https://*.example']\n", ":2: runtime.origins.0: is no origin of a web page"),
    ("runtime:\n  origins: ['https://App.example']\n", ":2: runtime.origins.0: is spelled as no browser sends it"),
    ("runtime:\n  origins: ['https://app.example:443']\n", ":2: runtime.origins.0: is spelled as no browser sends it"),
    ("runtime:\n  trusted_proxies: [10.0.0.0/8, x]\n", ":2: runtime.trusted_proxies.1: is no network"),
    ("runtime:\n  touch_sources: [http, Mouse]\n", ":2: runtime.touch_sources.1: is no name of a source"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: NONE}\n", ":3: runtime.webhooks.a.secret_env: names nothing"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: HAVE}\n", ":3: runtime.webhooks.a.secret_env: the secret is none"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: TWO}\n", ":3: runtime.webhooks.a.secret_env: secret 2 is none"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_file: none}\n", ":3: runtime.webhooks.a.secret_file: cannot be read"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/'}\n", ":3: runtime.webhooks.a: say either secret_env or secret_file"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://u:p@x.example/', secret_env: GOOD}\n", ":3: runtime.webhooks.a.url: holds a user name"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://', secret_env: GOOD}\n", ":3: runtime.webhooks.a.url: is no address"),
    (
        "runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: GOOD, kinds: [statos]}\n",
        ":3: runtime.webhooks.a.kinds.0: there is no such kind of event (did you mean 'status'?)",
    ),
    (
        "runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: GOOD, allow_private: [10.1.2.3/8]}\n",
        ":3: runtime.webhooks.a.allow_private.0: is no network",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), ONE_FAULT, ids=lambda value: value[:60] if value.startswith(":") else "")
def test_a_fault_is_told_with_line_and_key(tmp_path: Path, text: str, words: str) -> None:
    report = examined(tmp_path, text, HAVE="s3cret", GOOD=SECRET, TWO=f"{SECRET},whsec_s3cret", ATLAS_ORIGINS="x")
    (fault,) = told(report)
    assert fault.startswith(words)
    assert "s3cret" not in fault
    assert not report.ok


def test_a_section_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match=r"atlas\.yaml:2: runtime: input should be a valid dictionary"):
        examined(tmp_path, "provider: mock\nruntime: [1]\n")


def test_a_file_with_faults_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="is a URL, not a host") as caught:
        read(put(tmp_path, "runtime: {hosts: ['https://x']}\n"), environ={})
    assert caught.value.kind == "validation"
    assert caught.value.as_json()["faults"][0]["key"] == "runtime.hosts.0"


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "runtime:\n  hosts: ['https://x']\n  templates:\n    a:\n      spec: {provider: local, image: y, command: [x]}\n"
        "      env_from: [NONE]\n  webhooks:\n    w: {url: 'https://x.example/', secret_env: NONE, kinds: [x]}\n"
    )
    lines = [fault.line for fault in examined(tmp_path, text).faults]
    assert lines == [2, 5, 6, 8, 8]


def test_where_the_form_is_wrong_the_specs_are_looked_at_all_the_same(tmp_path: Path) -> None:
    text = "runtime:\n  idle_ttl: 5\n  templates:\n    a:\n      spec: {provider: local, image: y, command: [x]}\n"
    report = examined(tmp_path, text)
    assert [fault.line for fault in report.faults] == [2, 5]
    assert report.settings is None


def test_a_merged_template_is_told_by_the_line_where_it_is_written(tmp_path: Path) -> None:
    text = (
        "runtime:\n  templates:\n    a: &a\n      spec: {provider: local, command: [x]}\n      budgt: 1\n"
        "    b:\n      <<: *a\n"
    )
    assert [fault.line for fault in examined(tmp_path, text).faults] == [5, 5]


def test_an_account_without_its_key_is_a_fault(tmp_path: Path) -> None:
    text = (
        "accounts:\n  team: {provider: local, base_url: 'https://x.example'}\n"
        "runtime:\n  templates:\n    a: {spec: {account: team, command: [x]}}\n"
    )
    assert told(examined(tmp_path, text)) == []  # `local` needs no key, and the account names the provider


WARNINGS = [
    ("runtime: {public_url: 'http://sessions.example'}\n", "is plain http beyond this machine"),
    ("runtime: {max_kills_per_minute: 0}\n", "is 0"),
    ("runtime: {public_url: 'https://A.example:444', hosts: ['a.example:444']}\n", "leaves out this machine"),
    ("runtime:\n  webhooks:\n    a: {url: 'http://x.example/', secret_env: GOOD}\n", "is plain http"),
    ("runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_file: open}\n", "can be read by others"),
]


@pytest.mark.parametrize(("text", "words"), WARNINGS)
def test_what_works_but_may_not_be_meant_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "open").write_text(SECRET)
    (tmp_path / "open").chmod(0o644)
    report = examined(tmp_path, text, GOOD=SECRET)
    assert report.ok, told(report)
    (warning,) = report.warnings
    assert words in warning.message


def test_a_secret_file_is_named_from_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"{SECRET}\n")
    (tmp_path / "hook").chmod(0o600)
    text = "runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_file: hook}\n"
    found = read(put(tmp_path, text), environ={})
    assert found.settings.webhooks["a"].secret_file == str(tmp_path / "hook")


def test_a_spec_may_say_when_its_pod_is_ready(tmp_path: Path) -> None:
    text = (
        "runtime:\n  templates:\n    a: {spec: {provider: local, command: [x], ports: [80/http], ready: {port: 80}}}\n"
    )
    assert told(examined(tmp_path, text)) == []


@pytest.mark.parametrize(
    "text", [SECRET, "", "x", "whsec_AAAA", f"{SECRET},{SECRET}", f"{SECRET}, whsec_AAAA", "whsec_" + "A" * 88]
)
def test_a_secret_is_accepted_if_it_can_be_signed_with(tmp_path: Path, text: str) -> None:
    from pulumi_atlas.errors import AtlasError
    from pulumi_atlas.runtime.settings import Webhook
    from pulumi_atlas.runtime.webhooks._secrets import Secrets

    report = examined(tmp_path, "runtime:\n  webhooks:\n    a: {url: 'https://x.example/', secret_env: S}\n", S=text)
    try:
        Secrets.of("a", Webhook(url="https://x.example/", secret_env="S"), {"S": text})
        usable = True
    except AtlasError:
        usable = False
    assert report.ok is usable
