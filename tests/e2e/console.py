"""Pages that show a terminal: their commands are run as they stand, and what they print is compared.

A `console` block holds commands (lines that begin with ``$ ``), each followed by what it prints. There `…` stands for any
text within a line, and a line that is only `…` for any lines. Empty lines do not count, nor does the engine's progress.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Console", "Shown", "blocks", "put_curl", "shown"]

ANY = "…"

_CURL = r"""#!{python}
import argparse, sys, urllib.error, urllib.request
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-d")
parser.add_argument("-H", action="append", default=[])
parser.add_argument("-o")
parser.add_argument("-w", default="")
parser.add_argument("url")
asked = parser.parse_args()
headers = {{name.strip(): value.strip() for name, _, value in (row.partition(":") for row in asked.H)}}
request = urllib.request.Request(asked.url, asked.d.encode() if asked.d else None, headers)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
try:
    answer = direct.open(request, timeout=30)
except urllib.error.HTTPError as error:  # curl shows what an error says, and is content
    answer = error
with answer:
    body = answer.read()
if asked.o:
    with open(asked.o, "wb") as file:
        file.write(body)
else:
    sys.stdout.buffer.write(body)
    sys.stdout.flush()
sys.stdout.write(asked.w.replace("%{{http_code}}", str(answer.status)).replace("\\n", "\n"))
"""


@dataclass(frozen=True)
class Shown:
    """One command of a page with what the page says that it prints, and the line it stands in."""

    line: int
    command: str
    expected: tuple[str, ...]

    def pattern(self) -> re.Pattern[str]:
        lines = [r"(?:.*\n)*?" if text == ANY else _line(text) + r"\n" for text in self.expected]
        return re.compile("".join(lines))


def shown(page: Path) -> Iterator[Shown]:
    """The commands of a page, in order."""
    for first, text in blocks(page, "console"):
        command, line, expected = "", 0, list[str]()
        for number, row in enumerate(text.splitlines(), first):
            if row.startswith("$ "):
                if command:
                    yield Shown(line, command, tuple(expected))
                command, line, expected = row.removeprefix("$ "), number, []
            elif row.strip():
                expected.append(row.rstrip())
        if command:
            yield Shown(line, command, tuple(expected))


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of one language: number of the first line, and text."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
        yield text[: match.start(1)].count("\n") + 1, match[1]


class Console:
    """One shell after another in one folder; variables that a command sets are there for the next one."""

    def __init__(self, folder: Path, environ: Mapping[str, str], tools: Path) -> None:
        self.folder, self.environ, self.memory = folder, dict(environ), tools / "variables"
        self.names: dict[str, None] = {}
        tools.mkdir(parents=True)
        if shutil.which("curl", path=self.environ["PATH"]) is None:
            put_curl(tools)
            self.environ["PATH"] += os.pathsep + str(tools)

    def follow(self, page: Path) -> None:
        """Run every command of the page. Fails at the first that prints something else than the page says."""
        for step in shown(page):
            self.check(page, step)

    def check(self, page: Path, step: Shown) -> None:
        """Run one command of the page. Fails when it prints something else than the page says."""
        code, printed = self.run(step.command)
        seen = "".join(f"{line}\n" for line in printed.splitlines() if line.strip() and not line.startswith("@ "))
        told = "\n".join(step.expected)
        assert step.pattern().fullmatch(seen), (
            f"{page.name}:{step.line}: $ {step.command} → {code}\n--- the page\n{told}\n--- really\n{seen}"
        )

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and what was printed, both streams."""
        self.names |= dict.fromkeys(re.findall(r"(?:^|& |export )([A-Z_]+)=", command))
        keep = f". {self.memory} 2>/dev/null || true\n"
        if self.names:
            keep = f"trap 'declare -p {' '.join(self.names)} >{self.memory} 2>/dev/null || true' EXIT; {keep}"
        done = subprocess.run(
            ["bash", "-c", keep + command],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        lines = [line.rstrip() for line in done.stdout.decode(errors="replace").splitlines()]
        return done.returncode, "\n".join(lines)


def put_curl(folder: Path) -> Path:
    """A stand-in for curl, with the options that our pages use."""
    made = folder / "curl"
    made.write_text(_CURL.format(python=sys.executable))
    made.chmod(0o755)
    return made


def _line(text: str) -> str:
    """A line's pattern: `…` is any text, and runs of spaces are alike, since columns are as wide as what they hold."""
    parts = (r" +".join(map(re.escape, re.split(" +", part))) for part in text.split(ANY))
    return r".*?".join(parts)
