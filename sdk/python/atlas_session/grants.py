"""A grant: what a signed URL allows, as text inside the URL and as a value once it is verified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from atlas_session._frame import frame, mac
from atlas_session.errors import Malformed

__all__ = ["MAX_LEEWAY_S", "MAX_LIFETIME_S", "MAX_PATH_LIFETIME_S", "Form", "Grant"]

#: The longest that a signed URL may live: seven days.
MAX_LIFETIME_S = 7 * 86_400
#: The longest that the path form may live: 15 minutes. It stands where logs and players see it.
MAX_PATH_LIFETIME_S = 15 * 60
#: The most that two clocks may differ and still be believed.
MAX_LEEWAY_S = 60

#: ``url``: the grant is a query parameter. ``path``: it is the beginning of the path.
Form = Literal["url", "path"]

_TAGS: dict[Form, str] = {"url": "u1", "path": "p1"}
_CLAIMS = re.compile(
    r"(?P<tag>u1|p1)\.(?P<kid>[A-Za-z0-9_-]{1,32})\.(?P<exp>[1-9][0-9]{0,11})\.(?P<nbf>[1-9][0-9]{0,11})"
    r"\.(?P<gen>0|[1-9][0-9]{0,11})\.(?P<method>[A-Z]{1,16})\.(?P<scope>x|p[1-9][0-9]{0,3})\.(?P<addr>[-a])"
    r"\.(?P<nonce>-|[A-Za-z0-9_-]{16})\.(?P<sig>[A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What was allowed, after verification.

    `expires_at`, `not_before`: unix seconds. `prefix`: the path below which everything is allowed, None for one exact URL.
    `path` and `query` are the request's own, without the grant. `nonce` is set for a single-use grant.
    """

    kid: str
    expires_at: int
    not_before: int
    generation: int
    method: str
    prefix: str | None
    path: str
    query: str
    address_bound: bool
    nonce: str | None


class Claims(NamedTuple):
    """The text of a grant before its signature, field by field: exactly what is signed, beside the URL."""

    form: Form
    kid: str
    exp: int
    nbf: int
    gen: int
    method: str
    prefix_length: int  # 0: one exact URL
    address_bound: bool
    nonce: str  # "-" where the grant may be used again

    def text(self) -> str:
        scope = f"p{self.prefix_length}" if self.prefix_length else "x"
        fields = (_TAGS[self.form], self.kid, self.exp, self.nbf, self.gen, self.method, scope)
        return ".".join([*map(str, fields), "a" if self.address_bound else "-", self.nonce])

    def sign(self, key: bytes, scheme: str, host: str, port: int, path: str, query: str, network: str) -> str:
        """The signature over this text and what it is bound to: 43 characters."""
        texts = ("atlas-session", self.text(), scheme, host, str(port), path, query, network)
        return mac(key, frame(*[text.encode("ascii") for text in texts]))


def parse(text: str, form: Form) -> tuple[Claims, str]:
    """Claims and signature of a grant's text. Raises Malformed, also for a grant of the other form."""
    found = _CLAIMS.fullmatch(text)
    if found is None or found["tag"] != _TAGS[form]:
        raise Malformed("the grant is not of this form")
    kid, exp, nbf, gen, method, scope, addr, nonce, sig = found.groups()[1:]
    length = 0 if scope == "x" else int(scope[1:])
    return Claims(form, kid, int(exp), int(nbf), int(gen), method, length, addr == "a", nonce), sig
