"""What an interrupted creation has left behind: told with its id, or left to the recovery."""

from __future__ import annotations

from pulumi_atlas.cli._session import Left, Where
from pulumi_atlas.errors import AtlasError

__all__ = ["creation"]

_END = {"pod": "compute terminate", "volume": "volumes delete", "endpoint": "endpoints delete"}


def creation(where: Where) -> Left:
    """What became of the creation that this process began. Closes the intent of a thing whose id it tells."""
    from pulumi_atlas import config, processes
    from pulumi_atlas.client import IntentBook

    try:
        book = IntentBook(config.load().state_dir)
        mine = [intent for intent in book.unclosed() if intent.writer == processes.me()]
    except AtlasError as error:
        return Left(f"look with `atlas doctor` for what is left ({error.message})")
    sentences, things = [], []
    for intent in mine:
        if intent.thing_id is None:
            sentences.append(
                f"whether the {intent.kind} was made is not known yet: its intent is open, and"
                " `atlas doctor --recover` finishes the work"
            )
            continue
        end = f"atlas {_END[intent.kind]} {intent.thing_id} {where.flags(intent.provider)}"
        sentences.append(f"{intent.kind} {intent.thing_id} is there and may cost money; `{end}` ends it")
        things.append({"kind": intent.kind, "id": intent.thing_id, "provider": intent.provider})
        book.close(intent.birth)  # its owner has the id in hand now, as after a creation that ended well
    return Left("; ".join(sentences) or "nothing was made", tuple(things))
