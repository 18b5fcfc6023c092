"""Where this machine's own companion is: its store, its address, and its admin key."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from pulumi_atlas.errors import ConfigError

__all__ = ["admin_key_file", "default_listen", "default_store", "is_own", "needs_extra", "own_url", "split_listen"]

LISTEN_VARIABLE, STORE_VARIABLE = "ATLAS_RUNTIME_LISTEN", "ATLAS_RUNTIME_STORE"
LISTEN = "127.0.0.1:8765"
FIRST_KEY = ".admin-key"  # as `pulumi_atlas.runtime.http.first_key` says, which needs more than a client has


def default_listen() -> str:
    """ATLAS_RUNTIME_LISTEN, else loopback."""
    return os.environ.get(LISTEN_VARIABLE, "").strip() or LISTEN


def default_store() -> str:
    """ATLAS_RUNTIME_STORE, else a file in the user's state folder. Raises ConfigError when atlas.yaml is wrong."""
    named = os.environ.get(STORE_VARIABLE, "").strip()
    if named:
        return named
    from pulumi_atlas import config

    return f"sqlite:///{config.load().state_dir / 'runtime' / 'sessions.db'}"


def split_listen(listen: str) -> tuple[str, int]:
    """Host and port. Raises ConfigError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        hint = f"write HOST:PORT, for example {LISTEN}, or [::1]:8765; port 0 takes any free one"
        raise ConfigError(f"{listen!r} is no address to listen on", hint=hint)
    return host.removeprefix("[").removesuffix("]"), int(port)


def own_url() -> str:
    """How this machine's companion is reached from this machine."""
    host, port = split_listen(default_listen())
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_own(url: str) -> bool:
    """Whether the URL leads to this machine: by loopback, or as `own_url` says."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or url == own_url():
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def admin_key_file(store: str) -> Path:
    """The file beside the store that holds the admin key of the first start."""
    from pulumi_atlas.runtime.store import store_path

    path = store_path(store)
    return path.with_name(path.name + FIRST_KEY)


class needs_extra:
    """Within it, a library of the extra `runtime` that is not there is a ConfigError that says what to install."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(
            ("pulumi_atlas", "atlas_session")
        ):
            raise ConfigError(
                f"the companion needs {error.name}, which is not installed",
                hint='run `pip install "pulumi-atlas[runtime]"`; `atlas session` and `atlas runtime status` need it not',
            ) from None
