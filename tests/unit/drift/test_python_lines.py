"""The printed lines: Python that means what was there."""

from __future__ import annotations

import ast
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.drift._import_env import EnvPlace
from pulumi_atlas.drift._python_lines import Declaration, literal, python_lines

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_a_literal_means_its_value(value: Any) -> None:
    assert ast.literal_eval(literal(value)) == value


def test_a_literal_stays_on_its_line_and_reads_well() -> None:
    assert literal(["sh", "-c", 'echo "hé"']) == '["sh", "-c", "echo \\"hé\\""]'
    assert "\n" not in literal("two\nlines\u2028")
    assert literal(7200.0) == "7200"
    assert eval(literal(float("inf"))) == float("inf")


def test_one_resource_names_its_class_and_refers_to_what_is_declared_with_it() -> None:
    volume = Declaration("Volume", "data", "vol-1", {"provider": "local", "size_gb": 3})
    pod = Declaration(
        "Pod", "train-er", "p1", {"provider": "local", "volumes": {"/data": "vol-1", "/x": "vol-9"}, "env": {"A": "S3CRET"}},
        EnvPlace("importedEnv", "train-er"),
    )  # fmt: skip
    text = python_lines([volume, pod])
    assert 'data = atlas.Volume("data", provider="local", size_gb=3)\n' in text
    assert 'train_er = atlas.Pod(\n    "train-er",\n' in text
    assert 'volumes={"/data": data.id, "/x": "vol-9"}' in text
    assert 'env=config.require_secret_object("importedEnv")["train-er"]' in text
    assert "S3CRET" not in text
    ast.parse(text)


def test_pulumi_is_imported_only_where_settings_are_read() -> None:
    assert "import pulumi\n" not in python_lines([Declaration("Pod", "web", "p", {"provider": "mock"})])
    assert python_lines([]) == ""


def test_variables_are_names_that_are_free() -> None:
    names = ["class", "class", "atlas", "9lives", "match", "a.b", "a-b"]
    text = python_lines([Declaration("Pod", name, f"p{n}", {}) for n, name in enumerate(names)])
    targets = [node.targets[0].id for node in ast.parse(text).body if isinstance(node, ast.Assign)]  # type: ignore[attr-defined]
    assert targets == ["class_", "class__2", "atlas_", "_9lives", "match_", "a_b", "a_b_2"]


def test_workers_are_a_small_value() -> None:
    text = python_lines([Declaration("Endpoint", "e", "e1", {"workers": {"min": 1, "idle_timeout_s": 30.0}})])
    assert "workers=atlas.Workers(min=1, idle_timeout_s=30)" in text
