"""The companion's log: one line for each event, as text or JSON, and no secret in any.

Whatever logs in this process (our parts by `logging` or by `logger`, uvicorn, libraries) comes through one handler, and every
field of it, tracebacks included, passes the redactor. Fields of every line: `time` (UTC), `level`, `logger`, `event`; then
those of the event, and `exception` with a traceback where there is one.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from pulumi_atlas.runtime._redaction import HIDDEN, Redactor

__all__ = ["Logs", "configure", "logger"]

_FIRST = ("time", "level", "logger", "event")
_LAST = ("exception",)
#: Libraries that tell of each request, its whole URL included, or of each statement.
_CHATTY = ("httpx", "httpcore", "sqlalchemy", "alembic", "asyncio.sslproto")
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:token|secrets?|password|passwd|authorization|cookie|env|api[_-]?key|guard[_-]?key)$", re.I
)


class Logs:
    """A log in use. `redactor` may be told of more secrets; `close` gives the process its former log back."""

    def __init__(self, handler: logging.Handler, redactor: Redactor, level: int) -> None:
        self.redactor = redactor
        self._handler, root = handler, logging.getLogger()
        self._before = (root.level, list(root.handlers))
        self._levels = {name: logging.getLogger(name).level for name in _CHATTY}
        root.handlers[:] = [handler]
        root.setLevel(level)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(max(level, logging.WARNING))
        for name in _UVICORN:
            one = logging.getLogger(name)
            one.handlers.clear()
            one.propagate, one.disabled = True, False
            one.setLevel(logging.NOTSET)

    def close(self) -> None:
        """Safe to repeat."""
        root = logging.getLogger()
        if self._handler in root.handlers:
            added = [one for one in root.handlers if one is not self._handler]
            level, handlers = self._before
            root.handlers[:] = [*handlers, *added]
            root.setLevel(level)
            for name, before in self._levels.items():
                logging.getLogger(name).setLevel(before)


def configure(
    form: Literal["text", "json"] = "text",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    level: int = logging.INFO,
) -> Logs:
    """Let everything in this process log so, to `stream` (standard error). `secrets`: values that no line may hold."""
    redactor = Redactor(secrets)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_Formatter(_json if form == "json" else _text, redactor))
    return Logs(handler, redactor, level)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose calls take fields: ``log.info("session opened", session=id)``."""
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return bound


class _Handler(logging.StreamHandler[TextIO]):
    """A line that cannot be made is never shown raw, as the standard library would: it may hold anything."""

    def handleError(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"a line of {record.name} could not be logged\n")
        except (OSError, ValueError):
            return


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, render: Processor, redactor: Redactor) -> None:
        super().__init__(
            processors=[
                _standard_fields,
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _Cleaner(redactor),
                _in_order,
                render,
            ],
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            keep_exc_info=False,
            keep_stack_info=False,
        )


def _standard_fields(_: Any, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC)
    event["time"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["level"], event["logger"] = record.levelname.lower(), record.name
    event.pop("color_message", None)  # uvicorn's, the same once more for a terminal
    return event


class _Cleaner:
    """Makes plain JSON of the fields, without secrets: those under a name that says so, and what the redactor finds."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        return {self._redactor(str(name)): self._named(name, value) for name, value in event.items()}

    def _named(self, name: Any, value: Any) -> Any:
        return HIDDEN if value and _SECRET_NAME.search(_spelled(name)) else self._plain(value)

    def _plain(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self._redactor(_spelled(name)): self._named(name, one) for name, one in value.items()}
        if isinstance(value, list | tuple) and len(value) == 2:  # a header, for example
            return [self._plain(value[0]), self._named(value[0], value[1])]
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(one) for one in value]
        return self._redactor(_spelled(value))


def _in_order(_: Any, __: str, event: EventDict) -> EventDict:
    middle = [name for name in event if name not in _FIRST and name not in _LAST]
    return {name: event[name] for name in (*_FIRST, *middle, *_LAST) if name in event}


def _json(_: Any, __: str, event: EventDict) -> str:
    return json.dumps(event)


def _text(_: Any, __: str, event: EventDict) -> str:
    """`time level logger: event name=value …`; what would break the line or steer a terminal is spelled out."""
    head = f"{event['time']} {event['level']:<8} {event['logger']}: {_printable(str(event['event']))}"
    return " ".join(
        [head, *(f"{_printable(name)}={_value(value)}" for name, value in event.items() if name not in _FIRST)]
    )


def _value(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and not set(value) & set(" \"'="):
        return value or '""'
    return _printable(json.dumps(value, ensure_ascii=False))


def _spelled(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
