"""`atlas import` before any engine: what does not go together, and where there is no project. The rest is end to end."""

from __future__ import annotations

import pytest

from pulumi_atlas.providers.mock import World
from tests.unit.cli.conftest import Atlas


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "KIND and ID, or --all"),
        (("pod",), "KIND and ID, or --all"),
        (("house", "x"), "none of: pod, volume, endpoint"),
        (("pod", "x", "--all"), "--all goes with KIND alone"),
        (("--all", "--name", "n"), "--all goes with KIND alone"),
        (("--all", "--force"), "--all goes with KIND alone"),
        (("pod", "x", "y", "--name", "n"), "--name is for one thing"),
        (("pod", "x"), "in no Pulumi project"),
        (("pod", "x", "--cwd", "nowhere"), "is not a folder"),
    ],
)
def test_what_does_not_go_together_is_refused(atlas: Atlas, world: World, words: tuple[str, ...], said: str) -> None:
    done = atlas("import", *words)
    assert done.code == 2
    assert said in done.err
    assert world.calls() == []


@pytest.mark.parametrize("words", [("adopt-owner",), ("leaks", "--stack", "dev")])
def test_the_others_say_where_to_run_them(atlas: Atlas, world: World, words: tuple[str, ...]) -> None:
    done = atlas(*words)
    assert done.code == 2
    assert "in no Pulumi project" in done.err
