"""The head of a request, as far as the gate decides by it: read once."""

from __future__ import annotations

from collections.abc import Iterable

from pulumi_atlas.runtime.http.problem import Refusal

__all__ = ["Head"]

_WANTED = frozenset(
    {
        *(b"host", b"origin", b"authorization", b"content-type", b"content-length", b"transfer-encoding"),
        *(b"idempotency-key", b"last-event-id", b"access-control-request-method"),
    }
)


class Head:
    """The headers that count, each at most once. None: it is not there."""

    __slots__ = ("_found",)

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _WANTED:
                if name in found:
                    raise Refusal(400, f"the header {name.decode()} is there twice")
                found[name] = value
        self._found = found

    def get(self, name: bytes) -> bytes | None:
        return self._found.get(name)

    def text(self, name: bytes) -> str | None:
        """As text; what is not ASCII becomes something that no rule of ours accepts."""
        value = self._found.get(name)
        return None if value is None else value.decode("ascii", "replace")

    @property
    def has_body(self) -> bool:
        """Whether the client announced one that is not empty."""
        return b"transfer-encoding" in self._found or self._found.get(b"content-length", b"0").strip() not in (
            b"0",
            b"",
        )

    @property
    def length(self) -> int:
        """What the client says that the body has, bytes; 0 when it says nothing."""
        value = self._found.get(b"content-length", b"0").strip()
        return int(value) if value.isdigit() and len(value) < 19 else 0

    @property
    def is_json(self) -> bool:
        kind = self._found.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return kind == b"application/json"
