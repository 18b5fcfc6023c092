"""Local volumes: folders, and their links in pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pulumi_atlas.errors import Conflict, InvalidSpec, NotFound
from pulumi_atlas.models import ComputeSpec, VolumeSpec

FOREVER = ("sleep", "1000")


def volume(world: Any, **fields: Any) -> Any:
    return world.run(world.provider.create_volume(VolumeSpec(**{"size_gb": 1, **fields}), world.tag()))


def test_a_volume_is_a_folder_with_what_was_asked_for(world: Any) -> None:
    made = volume(world, name="data", size_gb=5)
    assert Path(made.path).is_dir()
    assert list(Path(made.path).iterdir()) == []
    assert (made.name, made.size_gb, made.birth, str(made.owner)) == ("data", 5, world.births[0], "manual:tester")
    assert world.run(world.provider.get_volume(made.id)) == made
    assert world.run(world.provider.list_volumes()).items == (made,)
    world.run(world.provider.delete_volume(made.id))
    assert world.rubbish() == []


def test_what_a_pod_writes_to_a_volume_outlives_it(world: Any) -> None:
    data = volume(world)
    code = "import os,json;p=json.loads(os.environ['ATLAS_VOLUMES'])['/some/data'];print(p);open('some/data/f','w').write('kept')"
    pod = world.becomes(world.python(code, volumes={"/some/data": data.id}), "finished")
    assert world.logs(pod) == [data.path]
    assert world.run(world.provider.get_volume(data.id)).attached_to == (pod.id,)
    world.terminate(pod)
    assert (Path(data.path) / "f").read_text() == "kept"
    assert world.run(world.provider.get_volume(data.id)).attached_to == ()


def test_a_mounted_volume_cannot_be_deleted(world: Any) -> None:
    data = volume(world)
    pod = world.create(*FOREVER, volumes={"/data": data.id})
    for stop in (False, True):
        if stop:
            world.stop(pod)
        with pytest.raises(Conflict, match=pod.id):
            world.run(world.provider.delete_volume(data.id))
    world.terminate(pod)
    world.run(world.provider.delete_volume(data.id))
    with pytest.raises(NotFound):
        world.run(world.provider.delete_volume(data.id))


def test_a_pod_that_is_over_mounts_nothing(world: Any, until: Any) -> None:
    data = volume(world)
    world.create("true", volumes={"/data": data.id}, on_exit="terminate")
    until(lambda: world.run(world.provider.get_volume(data.id)).attached_to == ())
    world.run(world.provider.delete_volume(data.id))


def test_links_in_a_users_folder_are_taken_away_again_and_nothing_else(world: Any, tmp_path: Path) -> None:
    (tmp_path / "app" / "mine").mkdir(parents=True)
    data = volume(world)
    mounts = {"/data": data.id, "/deep/er/data": data.id, "/mine/data": data.id}
    pod = world.create(*FOREVER, working_dir=str(tmp_path / "app"), volumes=mounts)
    assert (tmp_path / "app" / "deep" / "er" / "data").readlink() == Path(data.path)
    world.terminate(pod)
    assert [str(p.relative_to(tmp_path / "app")) for p in (tmp_path / "app").rglob("*")] == ["mine"]


def test_two_pods_may_share_a_link_and_the_last_one_takes_it_away(world: Any, tmp_path: Path) -> None:
    data = volume(world)
    pods = [world.create(*FOREVER, working_dir=str(tmp_path), volumes={"/data": data.id}) for _ in range(2)]
    world.terminate(pods[0])
    assert (tmp_path / "data").is_symlink()
    world.terminate(pods[1])
    assert not (tmp_path / "data").is_symlink()


def test_what_is_there_already_is_never_replaced(world: Any, tmp_path: Path) -> None:
    data = volume(world)
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").symlink_to("/tmp")
    for mount in ("/data", "/outside", "/outside/data", "/data/../x"):
        with pytest.raises(InvalidSpec) as raised:
            world.create(*FOREVER, working_dir=str(tmp_path), volumes={mount: data.id})
        assert [failure.path for failure in raised.value.failures] == [f"volumes.{mount}"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "local", "outside"]
    assert world.list() == []


def test_a_link_that_something_else_has_replaced_is_left_alone(world: Any, tmp_path: Path) -> None:
    data = volume(world)
    pod = world.create(*FOREVER, working_dir=str(tmp_path), volumes={"/data": data.id})
    (tmp_path / "data").unlink()
    (tmp_path / "data").write_text("the user's own")
    world.terminate(pod)
    assert (tmp_path / "data").read_text() == "the user's own"


def test_a_volume_inside_another_or_twice_at_one_place_is_refused(world: Any) -> None:
    data = volume(world)
    for mounts in ({"/a": data.id, "/a/b": data.id}, {"/a": data.id, "/a/": data.id}):
        with pytest.raises(InvalidSpec):
            world.create(*FOREVER, volumes=mounts)


def test_volumes_change_with_a_restart(world: Any, tmp_path: Path) -> None:
    one, two = volume(world), volume(world)
    pod = world.create(*FOREVER, working_dir=str(tmp_path), volumes={"/one": one.id, "/both": one.id})
    spec = ComputeSpec.model_validate({**pod.spec.model_dump(), "volumes": {"/two": two.id, "/both": two.id}})
    with pytest.raises(InvalidSpec, match="there is no volume"):
        broken = spec.model_copy(update={"volumes": {"/two": "vol-000000000000"}})
        world.run(world.provider.update_compute(pod.id, broken, restart=True))
    seen = world.run(world.provider.update_compute(pod.id, spec, restart=True))
    assert seen.status == "running"
    assert (tmp_path / "two").readlink() == (tmp_path / "both").readlink() == Path(two.path)
    assert not (tmp_path / "one").is_symlink()
    world.run(world.provider.delete_volume(one.id))
    world.terminate(pod)
    assert [p.name for p in tmp_path.iterdir()] == ["local"]


def test_a_volume_grows_and_is_renamed_but_never_shrinks(world: Any) -> None:
    data = volume(world, size_gb=2)
    grown = world.run(world.provider.update_volume(data.id, VolumeSpec(size_gb=3, name="new")))
    assert (grown.size_gb, grown.name, grown.birth) == (3, "new", data.birth)
    with pytest.raises(InvalidSpec, match="cannot shrink") as raised:
        world.run(world.provider.update_volume(data.id, VolumeSpec(size_gb=2)))
    assert raised.value.failures[0].path == "size_gb"


def test_regions_and_unknown_options_are_refused(world: Any) -> None:
    with pytest.raises(InvalidSpec) as raised:
        volume(world, region="EU", provider_options={"fast": True})
    assert [failure.path for failure in raised.value.failures] == ["region", "provider_options.fast"]
    assert world.rubbish() == []


@pytest.mark.parametrize("strange", ["", "..", "vol-0123456789ab", "../volumes"])
def test_a_volume_that_is_not_there_is_not_found(world: Any, strange: str) -> None:
    for verb in (world.provider.get_volume, world.provider.delete_volume):
        with pytest.raises(NotFound):
            world.run(verb(strange))
    with pytest.raises(NotFound):
        world.run(world.provider.update_volume(strange, VolumeSpec(size_gb=1)))


def test_the_record_of_a_volume_holds_only_what_is_needed(world: Any) -> None:
    data = volume(world)
    record = json.loads((Path(data.path).parent / "record.json").read_text())
    assert set(record) == {"id", "birth", "owner", "spec", "created_at"}
