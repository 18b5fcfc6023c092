"""Ways in: the key ring beside the store, and what is derived from it for one session. Nothing derived is ever stored.

A session's `token` is for its pod, `touch_token` for the companion, the guard key for the program in front of the pod. The
first two change with the generation; the guard key never does, so that a pod's environment need not change.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from atlas_session import sign_path, sign_url
from atlas_session.errors import CannotSign
from atlas_session.keys import KeyRing, MasterKey, Purpose, derive_key, hkdf
from atlas_session.tokens import MintedToken, mint_token
from pulumi_atlas import files
from pulumi_atlas.errors import ConfigError, Conflict, Failure, InvalidSpec
from pulumi_atlas.models.session import Session, SessionAuth
from pulumi_atlas.rules.sessions.opening import origin_of

__all__ = [
    "OVERLAP_S",
    "KeyRingFile",
    "SealBroken",
    "Secrets",
    "UrlWish",
    "Ways",
    "guard_again",
    "pod_environment",
    "seal",
    "signed",
    "unseal",
    "url_keys",
    "ways_again",
    "ways_in",
]

#: Seconds for which a key that was replaced still verifies: as long as the longest grant.
OVERLAP_S = 7 * 86_400


class SealBroken(ConfigError):
    """What was sealed cannot be opened: the key ring is another one, or its key has retired."""


class KeyRingFile:
    """The master keys in a JSON file that only its owner can read (0600). `fresh`: it was made just now."""

    def __init__(self, path: Path, ring: KeyRing, *, fresh: bool = False) -> None:
        self.path, self.ring, self.fresh = path, ring, fresh

    @classmethod
    def load(cls, path: Path) -> KeyRingFile:
        """The ring of a file; made when there is none. Raises ConfigError when it is no ring or others can read it."""
        try:
            text = path.read_text()
        except FileNotFoundError:
            made = cls(path, KeyRing.new(), fresh=True)
            files.write_atomically(path, made.ring.to_json().encode())
            return made
        except OSError as error:
            raise ConfigError(f"cannot read the keys in {path}: {error.strerror or error}") from None
        if path.stat().st_uid not in (os.geteuid(), path.parent.stat().st_uid):
            hint = "somebody else may know them: replace the file, and rotate every session"
            raise ConfigError(f"the keys in {path} belong neither to you nor to the owner of their folder", hint=hint)
        if path.stat().st_mode & 0o077:
            hint = f"run `chmod 600 {path}`; if others may have read it, replace it"
            raise ConfigError(f"others can read the keys in {path}", hint=hint)
        try:
            return cls(path, KeyRing.from_json(text))
        except CannotSign as error:
            raise ConfigError(f"{path}: {error}", hint="bring it back from a backup") from None

    @classmethod
    def beside(cls, store: Path) -> KeyRingFile:
        """The ring that belongs to the store in that file: its name and `.keys`."""
        return cls.load(store.with_name(f"{store.name}.keys"))

    def rotate(self, *, now: float, overlap_s: float = OVERLAP_S) -> None:
        """A new key signs from now on; what was issued verifies for `overlap_s` seconds more."""
        ring = self.ring.rotated(now=now, overlap_s=overlap_s)
        files.write_atomically(self.path, ring.to_json().encode())
        self.ring = ring


@dataclass(frozen=True, slots=True)
class Ways:
    """Everything that lets somebody in, and what verifies it. `token` is None when the pod sees to that itself."""

    token: MintedToken | None
    touch: MintedToken
    guard: MintedToken

    def hashes(self) -> dict[str, str | None]:
        """The fields of the session's row."""
        return {
            "token_hash": None if self.token is None else self.token.hash,
            "touch_hash": self.touch.hash,
            "guard_hash": self.guard.hash,
        }


def ways_in(ring: KeyRing, session_id: str, auth: SessionAuth, generation: int) -> Ways:
    """The ways into a session that is opened, resumed or rotated now, by the ring's newest key."""
    return _ways(ring.current, session_id, auth, generation)


def ways_again(ring: KeyRing, session: Session, now: float) -> Ways | None:
    """Those that were issued to a session in its present generation; None when their master key has retired."""
    for key in ring.alive(now):
        ways = _ways(key, session.id, session.auth, session.generation)
        if ways.touch.hash == session.touch_hash:
            return ways
    return None


def guard_again(ring: KeyRing, session: Session, now: float) -> str | None:
    """The key of the session's guard; None when its master key has retired."""
    for key in ring.alive(now):
        guard = _token(key, "guard", session.id, 0)
        if guard.hash == session.guard_hash:
            return guard.token
    return None


def _ways(key: MasterKey, session_id: str, auth: SessionAuth, generation: int) -> Ways:
    bearer = None if auth == "none" else _token(key, "bearer", session_id, generation)
    return Ways(bearer, _token(key, "touch", session_id, generation), _token(key, "guard", session_id, 0))


def _token(key: MasterKey, purpose: Purpose, session_id: str, generation: int) -> MintedToken:
    return mint_token(key=derive_key(key.secret, purpose=purpose, session_id=session_id, generation=generation))


# -- what the pod is told


def pod_environment(
    ring: KeyRing, session: Session, now: float, *, public_url: str | None, origins: tuple[str, ...]
) -> dict[str, str]:
    """The variables that SPECIFICATION 8 names. Only what verifies, but for the guard's own key."""
    told = {"ATLAS_SESSION_ID": session.id, "ATLAS_GENERATION": str(session.generation)}
    guard = guard_again(ring, session, now)
    if public_url is not None and guard is not None:
        told |= {"ATLAS_COMPANION_URL": public_url, "ATLAS_GUARD_KEY": guard}
    if session.token_hash is not None:
        told["ATLAS_TOKEN_HASHES"] = session.token_hash
    if session.auth == "signed_url":
        told["ATLAS_URL_KEYS"] = ",".join(f"{kid}:{key}" for kid, key in url_keys(ring, session, now).items())
    if origins:
        told["ATLAS_ORIGINS"] = ",".join(origins)
    return told


def url_keys(ring: KeyRing, session: Session, now: float) -> dict[str, str]:
    """Keys of signed URLs by their id, base64url; none unless the session's visitors come by signed URL."""
    if session.auth != "signed_url":
        return {}
    keys = ring.url_keys(session.id, generation=session.generation, now=now)
    return {kid: base64.urlsafe_b64encode(key).rstrip(b"=").decode() for kid, key in keys.items()}


# -- signed URLs


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlWish:
    """What a signed URL is to allow: `url`, or `port` and `path` of the session's pod. The rest as `atlas_session.sign_url`.

    `form`: `url`, or `path` for relative addresses inside (at most 900 s, GET only).
    """

    url: str | None = None
    port: str | None = None
    path: str | None = None
    method: str = "GET"
    prefix: bool = False
    expires_in_s: int = 3600
    not_before: int | None = None
    address: str | None = None
    single_use: bool = False
    form: str = "url"


def signed(ring: KeyRing, session: Session, wish: UrlWish, now: float) -> str:
    """The signed URL. Raises Conflict unless the session is ready and its visitors come so, InvalidSpec for a bad wish."""
    if session.auth != "signed_url":
        raise Conflict(f"session {session.id} lets visitors in by {session.auth}, not by signed URL")
    if session.state != "ready":
        raise Conflict(f"session {session.id} is {session.state}, not ready")
    url = _address(session, wish)
    kid, key = ring.sign_with(session.id, generation=session.generation)
    common: dict[str, Any] = {
        "key": key, "kid": kid, "expires_in_s": wish.expires_in_s, "not_before": wish.not_before,
        "generation": session.generation, "address": wish.address, "now": now,
    }  # fmt: skip
    try:
        if wish.form == "path":
            if wish.method != "GET" or wish.single_use:
                raise CannotSign("the path form is for GET, and may be used again")
            return sign_path(url, **common)
        return sign_url(url, method=wish.method, prefix=wish.prefix, single_use=wish.single_use, **common)
    except CannotSign as error:
        raise InvalidSpec([Failure("url" if wish.url else "path", str(error))]) from None


def _address(session: Session, wish: UrlWish) -> str:
    if wish.url is not None:
        if origin_of(wish.url) not in {origin_of(url) for url in session.urls.values()}:
            known = ", ".join(session.urls.values()) or "none"
            raise InvalidSpec([Failure("url", "is no address of this session's pod", f"its addresses: {known}")])
        return wish.url
    ports, path = [wish.port] if wish.port is not None else list(session.urls)[:1], wish.path or "/"
    if not ports or ports[0] not in session.urls:
        known = ", ".join(session.urls) or "none"
        raise InvalidSpec([Failure("port", "is no port of this session's pod with an address", f"known: {known}")])
    if not path.startswith("/"):
        raise InvalidSpec([Failure("path", "must begin with /")])
    return session.urls[ports[0]].rstrip("/") + path


# -- what is kept until the pod is rented


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values of a spec that the store must not hold in clear."""

    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    provider_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def seal(ring: KeyRing, secrets: Secrets) -> bytes:
    """Encrypted with a key derived from the ring's newest."""
    plain = {"env": dict(secrets.env), "provider_options": dict(secrets.provider_options)}
    return _fernet(ring.current).encrypt(json.dumps(plain).encode())


def unseal(ring: KeyRing, sealed: bytes, now: float) -> Secrets:
    """The reverse, with any key that has not retired. Raises SealBroken."""
    try:
        plain = json.loads(MultiFernet([_fernet(key) for key in ring.alive(now)]).decrypt(sealed))
    except InvalidToken:
        raise SealBroken(
            "the environment of its pod was sealed with a key that is not in the key ring any more",
            hint="open the session again; keep the .keys file together with the store",
        ) from None
    return Secrets(plain["env"], plain["provider_options"])


def _fernet(key: MasterKey) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hkdf(key.secret, info=b"atlas-runtime seal 1")))
