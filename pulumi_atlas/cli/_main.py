"""From arguments to an exit code: runs a command, and turns whatever goes wrong into words and a code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from pulumi_atlas.cli import _crash, _errors
from pulumi_atlas.cli._exit import Exit
from pulumi_atlas.cli._output import Out, Unheard, Unwritable, current, flush, say_error
from pulumi_atlas.errors import AtlasError, Failure, Interrupted, InvalidSpec

__all__ = ["run"]

#: What typer's parser raises on wrong usage; typer gives no public name to it.
_UsageError: Any = typer.BadParameter.__mro__[1]
_NAMES = ("atlas", "pulumi-atlas")
_SIGINT_CODE = 130


def run(arguments: Sequence[str]) -> int:
    """Run one command line; everything is printed when it returns. Never raises but what ends the interpreter."""
    if sys.platform == "win32":
        say_error("Windows is not supported", ["use Linux or macOS, or the Windows Subsystem for Linux"])
        return Exit.UNSUPPORTED
    Out.reset()
    with _warnings():
        try:
            code = _command(arguments)
            flush()
        except Unheard:
            _look_away()
            return Exit.OK
        except Unwritable as error:
            return _unwritable(str(error))
    return code


def _command(arguments: Sequence[str]) -> int:
    try:
        return _invoke(arguments)
    except AtlasError as error:
        return _failed(error, arguments)
    except typer.Abort:
        return _failed(Interrupted("the answer was no", hint="nothing was done"), arguments)
    except KeyboardInterrupt:
        return _failed(Interrupted("stopped by Ctrl-C"), arguments)
    except _UsageError as error:
        return _misused(error, arguments)
    except (Unheard, Unwritable):
        raise
    except Exception as error:  # noqa: BLE001 (the last resort: one line, and the traceback kept)
        return _crashed(error, arguments)


def _invoke(arguments: Sequence[str]) -> int:
    from pulumi_atlas.cli._app import app

    name = Path(sys.argv[0]).name
    try:
        code = app(list(arguments), prog_name=name if name in _NAMES else "atlas", standalone_mode=False)
    except SystemExit as done:  # completion ends so
        code = done.code
    if code == _SIGINT_CODE:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else Exit.OK


def _failed(error: AtlasError, arguments: Sequence[str]) -> int:
    if _wants_json(arguments):
        _out().document(_errors.as_document(error))
    else:
        _errors.tell(error)
    return _errors.code_of(error)


def _misused(error: Any, arguments: Sequence[str]) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show(file=sys.stderr)
        return Exit.USAGE
    path = context.command_path if context else "atlas"
    hint = f"`{path} --help` shows the usage"
    if _wants_json(arguments):
        problem = InvalidSpec([Failure("", error.format_message(), hint)])
        _out().document(_errors.as_document(problem))
    else:
        say_error(error.format_message(), [hint])
    return Exit.USAGE


def _crashed(error: Exception, arguments: Sequence[str]) -> int:
    what, hint = _crash.report(error)
    if _wants_json(arguments):
        _out().document({"error": {"kind": "unexpected", "message": what, "hint": hint}})
    else:
        say_error(what, [hint])
    return Exit.UNEXPECTED


def _wants_json(arguments: Sequence[str]) -> bool:
    """As the command has understood it; where it never began, by the words before the first `--`."""
    out = current()
    if out is not None:
        return out.json
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _out() -> Out:
    return current() or Out(json=True)


def _look_away() -> None:
    """The reader has gone: let what is still buffered go nowhere, without complaint at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _unwritable(why: str) -> int:
    _look_away()
    with suppress(Unheard, Unwritable):
        say_error(f"the output could not be written: {why}", ["the command itself was carried out"])
    return Exit.UNEXPECTED


class _Warning(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"warning: {record.getMessage()}\n")


@contextmanager
def _warnings() -> Iterator[None]:
    """Warnings of ours, such as about a key that others can read, are shown; nothing else is logged."""
    logger, handler = logging.getLogger("pulumi_atlas"), _Warning(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
