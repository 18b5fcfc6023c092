"""`spawn_compute(auth=…)` and `atlas compute spawn --auth`: the way in is handed over once, and only to the caller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas_session import verify_token
from pulumi_atlas import Atlas, ComputeSpec
from pulumi_atlas.errors import InvalidSpec


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    environ = {"ATLAS_MOCK_FILE": str(tmp_path / "world.json"), "ATLAS_STATE_DIR": str(tmp_path / "state")}
    with Atlas("mock", environ=environ, cwd=tmp_path) as made:
        yield made


@pytest.mark.parametrize("auth", ["bearer", "signed_url", "preshared"])
def test_the_answer_holds_the_way_in_and_the_pod_what_verifies_it(atlas: Atlas, auth: str) -> None:
    pod = atlas.spawn_compute(ComputeSpec(image="i", env={"RUN": "7"}), auth=auth)  # type: ignore[arg-type]
    assert pod.auth is not None and pod.spec is not None
    env = pod.spec.env
    assert env["RUN"] == "7"
    assert env["ATLAS_TOKEN_HASHES"] == pod.auth.hash
    assert verify_token(pod.auth.token, pod.auth.hash)
    assert pod.auth.header == {"Authorization": f"Bearer {pod.auth.token}"}
    assert (pod.auth.token in env.values()) == (auth == "preshared")
    assert ("ATLAS_URL_KEYS" in env) == (pod.auth.signing_key is not None) == (auth == "signed_url")


def test_it_is_not_shown_by_a_repr_and_not_told_again(atlas: Atlas) -> None:
    pod = atlas.spawn_compute(image="i", auth="signed_url")
    assert pod.auth is not None and pod.auth.signing_key is not None
    for text in (repr(pod), str(pod), f"{pod.auth}", repr(pod.auth)):
        assert pod.auth.token not in text and pod.auth.signing_key not in text
    assert atlas.get_compute(pod.id).auth is None
    assert [one.auth for one in atlas.list_compute()] == [None]


def test_without_auth_nothing_is_issued(atlas: Atlas) -> None:
    pod = atlas.spawn_compute(image="i")
    assert pod.auth is None and pod.spec is not None and pod.spec.env == {}


def test_a_generated_name_and_a_wrong_kind_are_refused_before_a_request(atlas: Atlas) -> None:
    with pytest.raises(InvalidSpec, match=r"env\.ATLAS_URL_KEYS: is generated"):
        atlas.spawn_compute(image="i", env={"ATLAS_URL_KEYS": "a:b"}, auth="bearer")
    with pytest.raises(InvalidSpec, match="auth: is none of the possible values"):
        atlas.spawn_compute(image="i", auth="basic")  # type: ignore[arg-type]
    assert atlas.list_compute() == []
