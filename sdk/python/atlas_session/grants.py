"""A grant: what a signed URL allows, as text inside the URL and as a value once it is verified."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from atlas_session._frame import mac
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

# Every field has one spelling, so a text that matches is the only one of its claims.
_BEGIN = r"([A-Za-z0-9_-]{1,32})\.([1-9][0-9]{0,11})\.([1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,11})\."
_FORMS: dict[Form, re.Pattern[str]] = {
    "url": re.compile(
        rf"u1\.{_BEGIN}([A-Z]{{1,16}})\.(?:x|p([1-9][0-9]{{0,3}}))\.([-a])\.(-|[A-Za-z0-9_-]{{16}})\.[A-Za-z0-9_-]{{43}}"
    ),
    "path": re.compile(rf"p1\.{_BEGIN}(GET)\.p([1-9][0-9]{{0,3}})\.([-a])\.(-)\.[A-Za-z0-9_-]{{43}}"),
}
_TAGS: dict[Form, str] = {"url": "u1", "path": "p1"}


class Grant(NamedTuple):
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
    """The fields of a grant before its signature."""

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
        """The first nine fields as they stand in the grant, and as they are signed."""
        form, kid, exp, nbf, gen, method, length, bound, nonce = self
        scope = f"p{length}" if length else "x"
        return f"{_TAGS[form]}.{kid}.{exp}.{nbf}.{gen}.{method}.{scope}.{'a' if bound else '-'}.{nonce}"


def message(text: str, scheme: str, host: str, port: int, path: str, query: str, network: str) -> bytes:
    """What is signed: the first nine fields of a grant and what they are bound to, each with its length before it.

    The same as `frame` of these fields, in one step: they are ASCII, or this raises UnicodeEncodeError.
    """
    at = str(port)
    return (
        f"13:atlas-session,{len(text)}:{text},{len(scheme)}:{scheme},{len(host)}:{host},{len(at)}:{at},"
        f"{len(path)}:{path},{len(query)}:{query},{len(network)}:{network},"
    ).encode("ascii")


def sign(key: bytes, text: str, scheme: str, host: str, port: int, path: str, query: str, network: str) -> str:
    """The signature over `message`: 43 characters."""
    return mac(key, message(text, scheme, host, port, path, query, network))


def parse(grant: str, form: Form) -> tuple[Claims, str, str]:
    """Claims, the text that is signed, and the signature. Raises Malformed, also for a grant of the other form."""
    found = _FORMS[form].fullmatch(grant)
    if found is None:
        raise Malformed("the grant is not of this form")
    kid, exp, nbf, gen, method, length, bound, nonce = found.groups()
    claims = Claims(form, kid, int(exp), int(nbf), int(gen), method, int(length or 0), bound == "a", nonce)
    return claims, grant[:-44], grant[-43:]
