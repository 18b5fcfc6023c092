"""atlas.yaml: where it is looked for, what it may say, and how its faults are told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pulumi_atlas import config
from pulumi_atlas.errors import ConfigError


def write(folder: Path, text: str, name: str = "atlas.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def refused(folder: Path, text: str) -> str:
    write(folder, text)
    with pytest.raises(ConfigError) as caught:
        config.load(cwd=folder, environ={"HOME": str(folder)})
    return caught.value.message


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    settings = config.load(cwd=tmp_path, environ={"HOME": str(tmp_path)})
    assert settings.provider is None
    assert settings.file is None
    assert settings.accounts == {}
    assert settings.state_dir == tmp_path / ".local/state/pulumi_atlas"


def test_the_nearest_file_upward_counts(tmp_path: Path) -> None:
    write(tmp_path, "provider: fly\n")
    inner = write(tmp_path / "a", "provider: mock\n")
    (tmp_path / "a/b/c").mkdir(parents=True)
    settings = config.load(cwd=tmp_path / "a/b/c", environ={})
    assert (settings.provider, settings.file) == ("mock", inner)


@pytest.mark.parametrize("border", ["git", "home"])
def test_the_search_ends_at_a_git_checkout_and_at_the_home(tmp_path: Path, border: str) -> None:
    write(tmp_path, "provider: mock\n")
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    if border == "git":
        (top / ".git").mkdir()
    environ = {"HOME": str(top)} if border == "home" else {}
    assert config.load(cwd=top / "inner", environ=environ).file is None
    write(top, "provider: fly\n")
    assert config.load(cwd=top / "inner", environ=environ).provider == "fly"


def test_atlas_config_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, "provider: fly\n")
    other = write(tmp_path / "x", "provider: mock\n", "other.yaml")
    assert config.load(cwd=tmp_path, environ={"ATLAS_CONFIG": str(other)}).provider == "mock"
    assert config.load(cwd=tmp_path, environ={"ATLAS_CONFIG": "x/other.yaml"}).provider == "mock"
    assert config.load(cwd=tmp_path, environ={"ATLAS_CONFIG": ""}).provider == "fly"
    with pytest.raises(ConfigError, match="there is no such file"):
        config.load(cwd=tmp_path, environ={"ATLAS_CONFIG": str(tmp_path / "none.yaml")})


def test_a_file_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "provider: mock\n")
    inner = tmp_path / "mine"
    inner.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 4242, -1)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        config.load(cwd=inner, environ={})
    assert f"ATLAS_CONFIG={path}" in caught.value.hint
    assert config.load(cwd=inner, environ={"ATLAS_CONFIG": str(path)}).provider == "mock"
    os.chown(inner, 4242, -1)
    assert config.load(cwd=inner, environ={}).provider == "mock"


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
provider: runpod
state_dir: state
providers:
  runpod: {api_key_env: MY_KEY, settings: {pool: 3}}
accounts:
  team-a:
    provider: runpod
    api_key_file: ~/keys/a
    base_url: https://example.org/v2
  here: {provider: mock, base_url: "http://127.0.0.1:8080/x", api_key: ""}
""",
    )
    settings = config.load(cwd=tmp_path, environ={"HOME": "/my"})
    assert settings.state_dir == tmp_path / "state"
    assert settings.providers["runpod"].api_key_env == "MY_KEY"
    assert settings.providers["runpod"].settings == {"pool": 3}
    assert settings.accounts["team-a"].api_key_file == Path("/my/keys/a")
    assert settings.accounts["team-a"].base_url == "https://example.org/v2"
    assert not settings.accounts["here"].names_a_key
    assert settings.warnings == ()


@pytest.mark.parametrize("text", ["", "# nothing\n", "accounts:\nproviders:\n", "provider: ''\nstate_dir:\n"])
def test_what_is_left_blank_counts_as_missing(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    settings = config.load(cwd=tmp_path, environ={"HOME": str(tmp_path)})
    assert settings.provider is None
    assert settings.accounts == {}
    assert settings.state_dir == tmp_path / ".local/state/pulumi_atlas"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("privider: x\n", 1, "privider: there is no such setting (did you mean 'provider'?)"),
        ("provider: x\naccounts:\n  a:\n    provider: y\n    api_kye: z\n", 5, "did you mean 'api_key'?"),
        ("accounts:\n  a: {api_key_env: K}\n", 2, "accounts.a.provider: field required"),
        ("providers:\n  x:\n    api_key: s3cret-a\n    api_key_env: K\n", 2, "keep one of them"),
        ("providers:\n  x: {base_url: 'http://example.org'}\n", 2, "must begin with https://"),
        ("providers:\n  x: {base_url: 'http://localhost.example.org'}\n", 2, "must begin with https://"),
        ("providers:\n  x: {api_key_env: 's3cret-a b'}\n", 2, "providers.x.api_key_env"),
        ("providers:\n  x: {api_key: [s3cret-a]}\n", 2, "providers.x.api_key"),
        ("provider: a\nprovider: b\n", 2, "provider: is there twice"),
        ("accounts:\n  a: {provider: x}\n  a: {provider: y}\n", 3, "accounts.a: is there twice"),
        ("- provider\n", 1, "must be a mapping"),
        ("provider: [\n", 2, "is not YAML"),
        ("a: b: c\n", 1, "is not YAML"),
        ("provider: !!python/object:os.system x\n", 1, "is not YAML"),
    ],
)
def test_a_fault_is_told_with_file_line_and_key(tmp_path: Path, text: str, line: int, words: str) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'atlas.yaml'}:{line}: ")
    assert words in message
    assert "s3cret" not in message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "privider: x\nstate_dri: y\n")
    assert "provider" in message
    assert "state_dri" in message


def test_binary_rubbish_is_a_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(cwd=tmp_path, environ={})
    path.write_bytes(b"a: \x07\n")
    with pytest.raises(ConfigError, match="not YAML"):
        config.load(cwd=tmp_path, environ={})


def test_a_key_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "providers:\n  x: {api_key: s3cret}\n")
    assert config.load(cwd=tmp_path, environ={}).warnings == ()
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        (warning,) = config.load(cwd=tmp_path, environ={}).warnings
    assert f"chmod 600 {path}" in warning
    assert warning in caplog.text
    assert "s3cret" not in caplog.text


def test_a_key_never_shows_in_the_settings(tmp_path: Path) -> None:
    write(tmp_path, "accounts:\n  a: {provider: x, api_key: s3cret}\n")
    settings = config.load(cwd=tmp_path, environ={})
    assert settings.accounts["a"].api_key == "s3cret"
    assert "s3cret" not in repr(settings)


def test_the_state_folder_comes_from_the_environment_first(tmp_path: Path) -> None:
    write(tmp_path, "state_dir: ~/written\n")
    environ = {"HOME": str(tmp_path), "ATLAS_STATE_DIR": str(tmp_path / "named")}
    settings = config.load(cwd=tmp_path, environ=environ)
    assert settings.state_dir == tmp_path / "named"
    assert config.state_dir({}, settings) == tmp_path / "named"
    settings = config.load(cwd=tmp_path, environ={**environ, "ATLAS_STATE_DIR": " "})
    assert settings.state_dir == tmp_path / "written"
    assert config.state_dir(environ, settings) == tmp_path / "named"


def test_the_default_state_folder_follows_xdg(tmp_path: Path) -> None:
    settings = config.load(cwd=tmp_path, environ={"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "xdg")})
    assert settings.state_dir == tmp_path / "xdg/pulumi_atlas"
    assert not settings.state_dir.exists()


def test_loading_without_a_file_needs_neither_yaml_nor_pydantic(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pulumi_atlas import config\n"
        f"config.load(cwd=Path({str(tmp_path)!r}), environ={{'HOME': {str(tmp_path)!r}}})\n"
        "assert not {'yaml', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
