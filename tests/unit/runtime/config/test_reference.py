"""The tables of docs/companion.md say what the settings, metrics and commands are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pulumi_atlas.runtime.settings import Limits, RuntimeSettings, SessionTemplate, Webhook

TABLES: dict[str, type[BaseModel]] = {
    "runtime.": RuntimeSettings,
    "runtime.limits.": Limits,
    "runtime.templates.NAME.": SessionTemplate,
    "runtime.webhooks.NAME.": Webhook,
}


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "companion.md").read_text(encoding="utf-8")


def rows(page: str, head: str) -> dict[str, str]:
    """The table under that head: name → what stands in its second column."""
    table = page.split(f"| `{head}` |", 1)[1].split("\n\n", 1)[0]
    found = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.M)
    assert len(dict(found)) == len(found), "each setting once"
    return dict(found)


def plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: plain(inner) for name, inner in value.model_dump(exclude_defaults=True).items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("head", TABLES)
def test_each_setting_is_there_with_its_default(page: str, head: str) -> None:
    model, told = TABLES[head], rows(page, head)
    assert set(told) == set(model.model_fields)
    for name, info in model.model_fields.items():
        if info.is_required():
            assert told[name] == "required", name
        else:
            assert yaml.safe_load(told[name]) == plain(info.get_default(call_default_factory=True)), name


def test_each_metric_is_there(page: str, root: Path) -> None:
    text = (root / "pulumi_atlas" / "runtime" / "metrics.py").read_text(encoding="utf-8").split('"""', 2)[1]
    made = set(re.findall(r"\batlas_[a-z_]+\b", text))
    assert made
    assert made == set(re.findall(r"`(atlas_[a-z_]+)`", page)) - {"atlas_session"}


def test_each_command_is_there(root: Path) -> None:
    from typer.main import get_command

    from pulumi_atlas.cli._app import app

    text = "\n".join((root / "docs" / name).read_text(encoding="utf-8") for name in ("companion.md", "sessions.md"))
    groups = get_command(app).commands  # type: ignore[attr-defined]
    named = [f"runtime {name}" for name in groups["runtime"].commands if name != "keys"]
    named += [f"runtime keys {name}" for name in groups["runtime"].commands["keys"].commands]
    named += [f"session {name}" for name in groups["session"].commands if name not in ("show", "url")]
    assert [name for name in named if f"atlas {name}" not in text] == []


def test_each_route_is_there_with_those_who_may_use_it(root: Path) -> None:
    from pulumi_atlas.runtime.http.roles import ROUTES

    text = (root / "docs" / "companion-api.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([A-Z]+ /[^`]*)` \| ([a-z, ]+) \|", text, re.M))
    assert told == {route.name: ", ".join(sorted(route.roles)) or "everybody" for route in ROUTES}


def test_each_refusal_is_there_with_its_exit_code(root: Path) -> None:
    import httpx

    from pulumi_atlas.cli import _errors, _problem

    text = (root / "docs" / "companion-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}(?:, \d{3})*) \|.*\| (\d+) \|$", text, re.M)
    assert rows
    for statuses, code in rows:
        for status in statuses.split(", "):
            headers = {"content-type": "application/problem+json"}
            request = httpx.Request("GET", "http://127.0.0.1/")
            answer = httpx.Response(int(status), json={"detail": "x"}, headers=headers, request=request)
            assert _errors.code_of(_problem.refusal(answer, "")) == int(code), status
