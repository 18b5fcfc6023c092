"""Words of the command line become values, and what cannot is refused by its property's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas.cli import _parse
from pulumi_atlas.errors import InvalidSpec

NAMES = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=1, max_size=8)


def test_a_length_of_time_has_a_unit_or_is_in_seconds() -> None:
    assert [_parse.duration_s(text, "x") for text in ("90", "1.5s", "15m", "2h", "1d", " 2H ")] == [
        90,
        1.5,
        900,
        7200,
        86_400,
        7200,
    ]
    assert _parse.duration_s(None, "x") is None


@pytest.mark.parametrize("text", ["", "-1", "1w", "h", "nan", "inf", "1e3", "1h30m"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        _parse.duration_s(text, "max_lifetime_s")
    assert caught.value.failures[0].path == "max_lifetime_s"


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=5))
def test_every_env_entry_comes_out_as_it_went_in(env: dict[str, str]) -> None:
    assert _parse.environment([f"{name}={value}" for name, value in env.items()], {}) == env


def test_an_env_name_alone_takes_the_callers_value() -> None:
    assert _parse.environment(["HOME", "A=b=c", "E="], {"HOME": "/h"}) == {"HOME": "/h", "A": "b=c", "E": ""}


def test_volumes_are_mounted_by_path_and_id() -> None:
    assert _parse.mounts(["/data=vol-1", "/a=b=vol-2"]) == {"/data": "vol-1", "/a=b": "vol-2"}


def test_options_are_json_where_they_can_be() -> None:
    words = ["n=3", "on=true", 'tags=["a"]', "text=plain words", "empty=", 'quoted="3"']
    assert _parse.options(words) == {
        "n": 3,
        "on": True,
        "tags": ["a"],
        "text": "plain words",
        "empty": "",
        "quoted": "3",
    }


@pytest.mark.parametrize(
    ("act", "path"),
    [
        (lambda: _parse.environment(["=x"], {}), "env"),
        (lambda: _parse.environment(["NOT_SET"], {}), "env.NOT_SET"),
        (lambda: _parse.environment(["A=1", "A=2"], {}), "env.A"),
        (lambda: _parse.mounts(["vol-1"]), "volumes"),
        (lambda: _parse.mounts(["/data="]), "volumes"),
        (lambda: _parse.mounts(["/d=a", "/d=b"]), "volumes./d"),
        (lambda: _parse.options(["grace"]), "provider_options"),
        (lambda: _parse.options(["a=1", "a=2"]), "provider_options.a"),
        (lambda: _parse.as_json("{", "input", str), "input"),
        (lambda: _parse.as_json("NaN]", "input", str), "input"),
    ],
)
def test_each_fault_names_its_property_and_how_to_mend_it(act: Callable[[], Any], path: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        act()
    [failure] = caught.value.failures
    assert failure.path == path
    assert failure.hint


def test_a_fault_in_env_never_shows_the_value() -> None:
    with pytest.raises(InvalidSpec) as caught:
        _parse.environment(["A=hunter2", "A=hunter2"], {})
    assert "hunter2" not in str(caught.value)


def test_json_is_read_from_a_file_or_standard_input() -> None:
    def read(source: str) -> str:
        return {"@file": '{"from": "file"}', "-": "[1]"}[source]

    assert _parse.as_json("@file", "input", read) == {"from": "file"}
    assert _parse.as_json("-", "input", read) == [1]
    assert _parse.as_json('"text"', "input", read) == "text"
