"""Hypothesis strategies for what our models take: valid ones, respellings of one meaning, wrong ones, unknown-holding ones.

Raw values are what the engine's wire can carry: JSON, with whole numbers that may come as floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from pulumi_atlas import gpus
from pulumi_atlas.ids import Owner, Tag
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.rules.unknown import UNKNOWN

__all__ = [
    "births",
    "compute_specs",
    "endpoint_specs",
    "env",
    "json_values",
    "names",
    "owners",
    "ports",
    "raw_endpoints",
    "raw_pods",
    "raw_volumes",
    "respelled",
    "tags",
    "volume_specs",
    "with_unknowns",
    "wrong_pods",
]

_WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


def names() -> st.SearchStrategy[str]:
    """Names that every provider takes: 1 to 63 of letters, digits and `._-`, the first and last a letter or digit."""
    return st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def births() -> st.SearchStrategy[str]:
    """Births: 20 hexadecimal digits."""
    return st.text("0123456789abcdef", min_size=20, max_size=20)


def owners() -> st.SearchStrategy[Owner]:
    """Owners of each kind; paths hold types, `$` and `::` as Pulumi's do."""
    kinds = st.sampled_from(["stack", "deployment", "manual"])
    ids = st.text("0123456789abcdefghijklmnop", min_size=1, max_size=16)
    paths = st.just("") | st.builds("{}::{}".format, st.sampled_from(["atlas:Pod", "a:b:C$atlas:Volume"]), names())
    return st.builds(Owner, kinds, ids, paths)


def tags() -> st.SearchStrategy[Tag]:
    """Tags: a birth and an owner."""
    return st.builds(Tag, births(), owners())


def ports() -> st.SearchStrategy[list[str]]:
    """Ports of a pod in our spelling, each number once."""
    one = st.tuples(st.integers(1, 65535), st.sampled_from(["http", "tcp"]))
    return st.lists(one, unique_by=lambda port: port[0], max_size=4).map(lambda many: [f"{n}/{p}" for n, p in many])


def env() -> st.SearchStrategy[dict[str, str]]:
    """Environment variables, any text that an environment can hold."""
    keys = st.from_regex(r"\A[A-Z][A-Z0-9_]{0,11}\Z").filter(
        lambda key: not key.startswith(("PORT", "ATLAS_", "RUNPOD_"))
    )
    return st.dictionaries(keys, _TEXTS, max_size=4)


def json_values() -> st.SearchStrategy[Any]:
    """Anything that JSON can say."""
    leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=True) | _TEXTS
    return st.recursive(
        leaves, lambda s: st.lists(s, max_size=4) | st.dictionaries(_TEXTS, s, max_size=4), max_leaves=12
    )


def _volumes() -> st.SearchStrategy[dict[str, str]]:
    paths = st.lists(_WORDS, unique=True, max_size=3).map(lambda parts: [f"/mnt-{part}" for part in parts])
    return paths.map(lambda many: {path: f"vol-{place}" for place, path in enumerate(many)})


def _gpus() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(gpus.known())), unique=True, max_size=3)


def _seconds() -> st.SearchStrategy[float]:
    return st.integers(1, 80_000).map(float)


def _workers() -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, 5), st.integers(1, 10)).filter(lambda pair: pair[0] <= pair[1])
    return st.builds(lambda pair, idle: {"min": pair[0], "max": pair[1], "idle_timeout_s": idle}, pairs, _seconds())


def raw_pods(provider: str = "mock") -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a pod as a program may give them: valid, in our spelling, any part left out."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "name": names(),
        "command": st.lists(_WORDS, min_size=1, max_size=4),
        "image": _WORDS,
        "env": env(),
        "ports": ports(),
        "volumes": _volumes(),
        "gpu": _gpus(),
        "gpu_count": st.integers(1, 8),
        "cloud_type": st.sampled_from(["any", "secure", "community"]),
        "spot": st.booleans(),
        "regions": st.lists(_WORDS, unique=True, max_size=3),
        "max_cost_per_hour": st.floats(0.01, 100),
        "container_disk_gb": st.integers(1, 1000),
        "volume_gb": st.integers(1, 1000),
        "auth": st.sampled_from(["bearer", "signed_url", "preshared"]),
        "auth_generation": st.integers(0, 3),
        "working_dir": _WORDS,
        "on_exit": st.sampled_from(["keep", "stop", "terminate", "restart"]),
        "max_lifetime_s": _seconds(),
        "desired_status": st.sampled_from(["running", "stopped"]),
        "trigger": st.integers(0, 9) | _WORDS,
        "timeouts": st.fixed_dictionaries({}, optional={"create_s": _seconds(), "delete_s": _seconds()}),
    }
    return st.fixed_dictionaries({"provider": st.just(provider)}, optional=optional)


def raw_volumes(provider: str = "mock") -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a volume, valid, in our spelling."""
    needed = {"provider": st.just(provider), "size_gb": st.integers(1, 100_000)}
    return st.fixed_dictionaries(needed, optional={"name": names(), "region": _WORDS})


def raw_endpoints(provider: str = "mock") -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of an endpoint, valid, in our spelling."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "name": names(),
        "env": env(),
        "workers": _workers(),
        "execution_timeout_s": _seconds(),
        "queue_ttl_s": _seconds(),
        "max_retries": st.integers(0, 5),
        "working_dir": _WORDS,
        "trigger": st.integers(0, 9),
    }
    handlers = st.fixed_dictionaries({"provider": st.just(provider), "handler": st.just("app:run")}, optional=optional)
    commands = st.fixed_dictionaries(
        {"provider": st.just(provider), "command": st.lists(_WORDS, min_size=1, max_size=3)}, optional=optional
    )
    return handlers | commands


_OURS = ("provider", "account", "desired_status", "trigger", "auth", "auth_generation", "ready", "timeouts")


def compute_specs(**fixed: Any) -> st.SearchStrategy[ComputeSpec]:
    """Valid specs of pods; `fixed` fields are as given."""
    return raw_pods().map(lambda raw: ComputeSpec.model_validate({**_without(raw, *_OURS), **fixed}))


def volume_specs() -> st.SearchStrategy[VolumeSpec]:
    """Valid specs of volumes."""
    return raw_volumes().map(lambda raw: VolumeSpec.model_validate(_without(raw, *_OURS)))


def endpoint_specs() -> st.SearchStrategy[EndpointSpec]:
    """Valid specs of endpoints."""
    return raw_endpoints().map(lambda raw: EndpointSpec.model_validate(_without(raw, *_OURS)))


#: Defaults that a program may as well write out.
_DEFAULTS: Mapping[str, Any] = {
    "env": {},
    "ports": [],
    "volumes": {},
    "gpu": [],
    "gpu_count": 1,
    "cloud_type": "any",
    "spot": False,
    "regions": [],
    "on_exit": "keep",
    "desired_status": "running",
    "auth_generation": 0,
    "provider_options": {},
}


@st.composite
def respelled(draw: st.DrawFn, raw: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same meaning in another spelling: ints as floats, ports as numbers, defaults written out or left out, tuples."""
    known = _DEFAULTS if defaults is None else defaults
    found = {}
    for name, value in raw.items():
        if name in known and known[name] == value and draw(st.booleans()):
            continue
        found[name] = _respell(draw, name, value)
    for name, value in known.items():
        if name not in raw and draw(st.booleans()):
            found[name] = _respell(draw, name, value)
    return found


def _respell(draw: st.DrawFn, name: str, value: Any) -> Any:
    if name == "ports":
        return [_respell_port(draw, port) for port in value]
    if name in ("trigger", "env", "provider_options"):
        return value
    return _numbers(draw, value)


def _respell_port(draw: st.DrawFn, port: str) -> Any:
    number, _, protocol = port.partition("/")
    spellings: list[Any] = [port, port.upper(), f" {port} "]
    if protocol == "http":
        spellings += [number, int(number), float(number)]
    return draw(st.sampled_from(spellings))


def _numbers(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and draw(st.booleans()):
        return float(value)
    if isinstance(value, float) and value.is_integer() and draw(st.booleans()):
        return int(value)
    if isinstance(value, Mapping):
        return {key: _numbers(draw, inner) for key, inner in value.items()}
    if isinstance(value, list):
        changed = [_numbers(draw, inner) for inner in value]
        return tuple(changed) if draw(st.booleans()) else changed
    return value


@st.composite
def with_unknowns(draw: st.DrawFn, raw: Mapping[str, Any], *, keep: tuple[str, ...] = ("provider",)) -> dict[str, Any]:
    """The same with some leaves or whole values not known yet, as at preview; those in `keep` stay known."""
    return {name: value if name in keep else _hide(draw, value) for name, value in raw.items()}


def _hide(draw: st.DrawFn, value: Any) -> Any:
    if draw(st.integers(0, 3)) == 0:
        return UNKNOWN
    if isinstance(value, Mapping):
        return {key: _hide(draw, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide(draw, inner) for inner in value]
    return value


@st.composite
def wrong_pods(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of a pod with one thing that is surely wrong, under the key `expected` its path's first word."""
    raw = draw(raw_pods())
    name, value = draw(st.sampled_from(_WRONG))
    return {**raw, name: value, "expected": name}


_WRONG: tuple[tuple[str, Any], ...] = (
    ("name", ""),
    ("name", "-x"),
    ("name", "x" * 64),
    ("command", []),
    ("command", "python train.py"),
    ("command", [1]),
    ("image", ""),
    ("env", {"A=B": "1"}),
    ("env", {"A": 1}),
    ("env", {"": "1"}),
    ("ports", [0]),
    ("ports", [65536]),
    ("ports", ["80/http", 80]),
    ("ports", ["eighty"]),
    ("ports", [True]),
    ("ports", ["80/udp"]),
    ("volumes", {"data": "vol-1"}),
    ("volumes", {"/a": "vol-1", "/b": "vol-1"}),
    ("volumes", {"/a": ""}),
    ("volumes", {"/a/../b": "vol-1"}),
    ("gpu_count", 0),
    ("gpu_count", 1.5),
    ("gpu_count", "2"),
    ("gpu_count", True),
    ("gpu", ["rtx_5_million"]),
    ("cloud_type", "private"),
    ("spot", "perhaps"),
    ("max_cost_per_hour", -1),
    ("max_cost_per_hour", float("inf")),
    ("container_disk_gb", -5),
    ("volume_gb", 0),
    ("auth", "basic"),
    ("auth_generation", -1),
    ("on_exit", "explode"),
    ("max_lifetime_s", 0),
    ("max_lifetime_s", -1.5),
    ("desired_status", "paused"),
    ("timeouts", {"create_s": 0}),
    ("timeouts", {"craete_s": 5}),
    ("ready", {"port": 70000}),
    ("comand", ["typo"]),
    ("provider", "runpodd"),
)


def _without(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}
