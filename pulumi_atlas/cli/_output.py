"""Where a command's words go: results to stdout, everything else to stderr; for a person, for a pipe, or as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from pulumi_atlas.cli._exit import Exit

if TYPE_CHECKING:
    from pulumi_atlas.models import Things

__all__ = ["Out", "Unheard", "Unwritable", "current", "say_error"]


class Unheard(Exception):
    """Whoever read our output has gone: there is nobody to tell anything."""


class Unwritable(Exception):
    """Our output cannot be written, for example because a disk is full."""


_current: Out | None = None


def current() -> Out | None:
    """The output of the command that runs, once it has understood its options."""
    return _current


class Out:
    """The output of one command. `json`: exactly one document on stdout; with `stream`, one a line."""

    def __init__(self, *, json: bool = False, show_secrets: bool = False, stream: bool = False) -> None:
        global _current
        self.json, self.show_secrets, self.stream = json, show_secrets, stream
        self.on_terminal = sys.stdout.isatty()
        _current = self

    @staticmethod
    def reset() -> None:
        """Forget the command that ran."""
        global _current
        _current = None

    def result(self, value: Any, human: Callable[[], None]) -> None:
        """Print the result: `value` as JSON, or whatever `human` prints."""
        if self.json:
            self.document(value)
        else:
            human()

    def listing(self, found: Things[Any], value: Any, human: Callable[[], None]) -> None:
        """Print a list. Ends the command with INCOMPLETE when a part of the account did not answer."""
        self.result(value, human)
        if not found.complete:
            say_error("the list is not complete: a part of the account did not answer", ["run it again"])
            raise typer.Exit(Exit.INCOMPLETE)

    def document(self, value: Any) -> None:
        """The one JSON document, or the next line of a JSON stream, seen by the reader at once."""
        write(_as_json(value, indent=None if self.stream else 2) + "\n", flush=self.stream)

    def line(self, text: str = "") -> None:
        """One line for a person, seen at once."""
        write(text + "\n", flush=True)

    def note(self, text: str) -> None:
        """A remark beside the result: to stderr, and not with --json."""
        if not self.json:
            write(text + "\n", sys.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, none: str) -> None:
        """A table: columns that are empty in all rows are left out. `none` is the remark when there are no rows."""
        from pulumi_atlas.cli import _table

        if not rows:
            self.note(none)
        elif self.on_terminal:
            _table.on_terminal(columns, rows)
        else:
            write(_table.plain(columns, rows))

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values, one a line; empty values are left out."""
        from pulumi_atlas.cli import _table

        write(_table.fields(pairs))

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str], None]]:
        """A spinner with a line of text on a terminal; silent otherwise. Gives the function that changes the text."""
        if not sys.stderr.isatty():
            yield _silent
            return
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status(escape(text), spinner="dots") as status:
            yield lambda line: status.update(escape(f"{text} — {line}"))


def say_error(text: str, hints: Sequence[str] = (), *, head: str = "error:") -> None:
    """`error: …` and its hints, to stderr; red on a terminal that wants colours."""
    write(f"{styled(head, '1;31', sys.stderr)} {text}\n", sys.stderr)
    for hint in hints:
        write(f"{styled('hint:', '1', sys.stderr)}  {hint}\n", sys.stderr)
    flush()


def styled(text: str, style: str, stream: TextIO) -> str:
    """`text` with a terminal style, where the stream is a terminal that shows colours."""
    import os

    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"


def write(text: str, stream: TextIO | None = None, *, flush: bool = False) -> None:
    """Write to stdout, or to `stream`. Raises Unheard or Unwritable."""
    stream = stream or sys.stdout
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush:
            stream.flush()
    except OSError as error:
        raise _trouble(error) from error


def flush() -> None:
    """Bring everything out. Raises Unheard or Unwritable."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        raise _trouble(error) from error


def _trouble(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return Unheard()
    return Unwritable(error.strerror or str(error))


def _silent(line: str) -> None:
    return None


def _as_json(value: Any, indent: int | None = None) -> str:
    separators = None if indent else (",", ":")
    try:
        return json.dumps(value, indent=indent, separators=separators, ensure_ascii=_ascii_only(), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, separators=separators, ensure_ascii=_ascii_only())


def _ascii_only() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") != "utf8"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
