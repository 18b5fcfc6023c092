"""The vendor's release archive: fetched with short time-outs, checked, and unpacked file by file."""

from __future__ import annotations

import hashlib
import http.client
import platform
import queue
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

__all__ = ["Failed", "fetch", "release_url"]

DEFAULT_URL = "https://get.pulumi.com/releases/sdk/pulumi-v{version}-{os}-{arch}.tar.gz"
CONNECT_S = 5.0
"""Seconds for connecting, and for each silence while reading."""
ANSWER_S = 10.0
"""Seconds for name look-up, connecting and the first answer together; a look-up alone obeys no time-out of ours."""
TOTAL_S = 600.0


class Failed(Exception):
    """The archive could not be had; the text says why."""


def release_url(version: str, template: str | None) -> str:
    """The archive's address for this machine. `template` None: the vendor's."""
    if template is not None and not template.strip():
        raise Failed("switched off: ATLAS_ENGINE_URL is empty")
    machine = platform.machine().lower()
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if arch is None:
        raise Failed(f"the vendor has no release for {machine}")
    return (template or DEFAULT_URL).format(version=version, os=platform.system().lower(), arch=arch)


def fetch(url: str, version: str, folder: Path, *, wanted: Collection[str], say: Callable[[str], None]) -> None:
    """Put the `wanted` executables of the archive at `url` into `folder`. Raises Failed."""
    archive = folder / "release.tar.gz"
    with _open(url) as answer:
        digest = _save(answer, archive)
    offered = _offered_checksum(url, version)
    if offered is None:
        say("no checksum is offered beside the archive; relying on the connection")
    elif offered != digest:
        raise Failed(f"the archive's checksum is {digest}, not {offered} as {url} promises")
    _unpack(archive, folder, wanted)
    archive.unlink()


def _open(url: str) -> http.client.HTTPResponse:
    """Open `url` in a thread of its own, because looking up a name may hang for far longer than any time-out."""
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=CONNECT_S))
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise Failed(f"no answer from {url} within {ANSWER_S:g} s") from None
    if isinstance(answer, urllib.error.HTTPError):
        answer.close()
        raise Failed(f"{url} answered {answer.code}")
    if isinstance(answer, urllib.error.URLError):
        raise Failed(f"{url} cannot be reached: {answer.reason}")
    if isinstance(answer, Exception):
        raise Failed(f"{url} cannot be reached: {answer}")
    return answer


def _save(answer: http.client.HTTPResponse, archive: Path) -> str:
    """Write the body to `archive`; its SHA-256."""
    digest, deadline, length = hashlib.sha256(), time.monotonic() + TOTAL_S, 0
    promised = answer.headers.get("Content-Length")
    try:
        with archive.open("wb") as file:
            while block := answer.read(1 << 20):
                length += len(block)
                digest.update(block)
                file.write(block)
                if time.monotonic() > deadline:
                    raise Failed(f"the archive did not arrive within {TOTAL_S:g} s")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"the archive broke off after {length} bytes: {error}") from error
    if promised is not None and length != int(promised):
        raise Failed(f"the archive broke off after {length} of {promised} bytes")
    return digest.hexdigest()


def _offered_checksum(url: str, version: str) -> str | None:
    """The SHA-256 that a file beside the archive names for it, if there is such a file."""
    base, _, name = url.rpartition("/")
    for address in (f"{url}.sha256", f"{base}/pulumi-{version}-checksums.txt"):
        try:
            with _open(address) as answer:
                text = answer.read(1 << 20).decode("utf-8", errors="replace")
        except (Failed, OSError, http.client.HTTPException):
            continue
        for line in text.splitlines():
            words = line.split()
            if words and len(words[0]) == 64 and (len(words) == 1 or words[-1].lstrip("*") == name):
                return words[0].lower()
    return None


def _unpack(archive: Path, folder: Path, wanted: Collection[str]) -> None:
    """Take only the wanted files, by their last name, so that no path in the archive can lead outside `folder`."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                source: IO[bytes] | None = tar.extractfile(member) if member.isfile() and name in wanted else None
                if source is not None:
                    with source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    (folder / name).chmod(0o755)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Failed(f"the archive cannot be read: {error}") from error
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        raise Failed(f"the archive lacks {', '.join(missing)}")
