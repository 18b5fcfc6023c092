"""One act on several things: all are tried, each is told of, and the first failure gives the exit code."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from pulumi_atlas.cli import _errors
from pulumi_atlas.cli._output import Out
from pulumi_atlas.cli._session import Left, Where, perform
from pulumi_atlas.errors import AtlasError, ConfigError

if TYPE_CHECKING:
    from pulumi_atlas.client import AsyncAtlas

__all__ = ["confirm", "each"]

Act = Callable[["AsyncAtlas", str], Awaitable[None]]


def confirm(question: str, *, yes: bool, nothing_else: str) -> None:
    """Ask before something is destroyed. Without a terminal nobody can answer: refuses unless `yes`.

    Raises ConfigError, or ends the command when the answer is no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"{nothing_else}, and nobody can be asked here", hint="add --yes to do it; nothing was done")
    if not typer.confirm(question, default=False, err=True):
        raise typer.Abort


def each(out: Out, where: Where, ids: Sequence[str], act: Act, *, noun: str, doing: str, done: str, look: str) -> None:
    """Do it to each id at the same time. `look` is the command that shows what became of them.

    JSON: ``{"results": [{"id", "ok", "error"?}…], "error"?}``. Raises the error itself when it is the same for all.
    """
    wanted = list(dict.fromkeys(ids))
    outcomes: dict[str, AtlasError | None] = {}

    async def one(atlas: AsyncAtlas, ident: str) -> None:
        try:
            await act(atlas, ident)
            outcomes[ident] = None
        except AtlasError as error:
            outcomes[ident] = error

    async def work(atlas: AsyncAtlas) -> None:
        import asyncio

        await asyncio.gather(*(one(atlas, ident) for ident in wanted))

    def left() -> Left:
        finished = [ident for ident in wanted if ident in outcomes and outcomes[ident] is None]
        open_ = [ident for ident in wanted if ident not in outcomes]
        words = [f"{done}: {', '.join(finished)}"] if finished else []
        return Left("; ".join([*words, f"not confirmed: {', '.join(open_)}; `{look}` shows what is there"]))

    perform(out, where, work, doing=f"{doing} {', '.join(wanted)}", writes=True, left=left)
    _tell(out, wanted, outcomes, noun=noun, done=done)


def _tell(out: Out, ids: Sequence[str], outcomes: Mapping[str, AtlasError | None], *, noun: str, done: str) -> None:
    errors = [error for error in (outcomes[ident] for ident in ids) if error is not None]
    if len(errors) == len(ids) and len({str(error) for error in errors}) == 1 and len(ids) > 1:
        raise errors[0]
    if out.json:
        rows = [_row(ident, outcomes[ident]) for ident in ids]
        out.document({"results": rows, **(_errors.as_document(errors[0]) if errors else {})})
    else:
        for ident in ids:
            failure = outcomes[ident]
            if failure is None:
                out.line(f"{noun} {ident} {done}")
            else:
                _errors.tell(failure, about=ident if len(ids) > 1 else "")
    if errors:
        raise typer.Exit(_errors.code_of(errors[0]))


def _row(ident: str, error: AtlasError | None) -> dict[str, Any]:
    return {"id": ident, "ok": True} if error is None else {"id": ident, "ok": False, **_errors.as_document(error)}
