"""The command line, as a value. Standard library only: `--help` works without the extra."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from atlas_session.guard._proxy._upstream import Upstream, parse_upstream

__all__ = ["SECRETS", "Options", "child_environment", "parse"]

#: What the program behind the guard has no need of.
SECRETS = ("ATLAS_GUARD_KEY", "ATLAS_URL_KEYS", "ATLAS_TOKEN_HASHES")
#: As --log-level: at finer ones the server writes down whole handshakes, before the guard took the credentials out.
LOG_LEVELS = ("critical", "error", "warning", "info")

_EPILOG = """\
With a command after --, the guard starts it with PORT set to the upstream's port (a free one on 127.0.0.1 unless
--upstream says another) and ends with it. SIGTERM and SIGINT are passed on to the command's process group; after 10
seconds, or at the second signal, what is left of the group is killed. It is killed too when the guard is.

Who is let in comes from the environment: ATLAS_TOKEN_HASHES, ATLAS_URL_KEYS, ATLAS_COMPANION_URL and the others of
SPECIFICATION.md, section 8. ATLAS_GUARD_KEY, ATLAS_URL_KEYS and ATLAS_TOKEN_HASHES are not in the command's
environment. On Linux it cannot read them in the guard's either, unless it may look into any process (CAP_SYS_PTRACE).

exit codes:
  0    ended by a signal, with no command to ask
  1    cannot listen on the host and port
  2    wrong options or settings (one line each on stderr), or the extra is not installed
  126  the command cannot be run    127  there is no such command
  else the command's own; 128+n when signal n ended it
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. `upstream` is None when a free port is to be chosen for `command`."""

    upstream: Upstream | None
    host: str
    port: int
    host_header: Literal["client", "upstream"]
    log_level: str
    check_config: bool
    as_json: bool
    command: tuple[str, ...]


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """The options. Ends the process, as argparse does, with code 2 for wrong ones and 0 after --help."""
    mine, command = _split(argv)
    parser = _parser()
    given = parser.parse_args(mine)
    if command is not None and not command:
        parser.error("there is no command after --")
    if given.upstream is None and not command:
        parser.error("give --upstream URL, or a command after --")
    port = given.port if given.port is not None else _port_of(environ, parser)
    return Options(
        given.upstream,
        given.host,
        port,
        given.host_header,
        given.log_level,
        given.check_config,
        given.json,
        tuple(command or ()),
    )


def child_environment(environ: Mapping[str, str], port: int | None) -> dict[str, str]:
    """The command's environment: without our secrets, and with PORT as the port that it is to listen on, if any."""
    kept = {name: value for name, value in environ.items() if name not in SECRETS and name != "PORT"}
    return kept if port is None else {**kept, "PORT": str(port)}


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Our arguments, and those after the first ``--``, if there is one."""
    if "--" not in argv:
        return list(argv), None
    place = list(argv).index("--")
    return list(argv[:place]), list(argv[place + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m atlas_session.guard",
        usage="%(prog)s [options] [-- command ...]",
        description=textwrap.fill(
            "Let only those in who hold a token or a signed URL, and pass them on to a program.", 100
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--upstream", type=_upstream, metavar="URL", help="http://host:port, https://… or unix:/path")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, metavar="N", help="port to listen on (default: PORT, or 8080)")
    parser.add_argument(
        "--host-header",
        choices=("client", "upstream"),
        default="client",
        help="the Host that the upstream sees: the visitor's or its own (default: %(default)s)",
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: %(default)s")
    parser.add_argument(
        "--check-config", action="store_true", help="print what would be served, without secrets, and end"
    )
    parser.add_argument("--json", action="store_true", help="with --check-config: as JSON")
    return parser


def _upstream(text: str) -> Upstream:
    try:
        return parse_upstream(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if re.fullmatch(r"0|[1-9][0-9]{0,4}", text) is None or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _port_of(environ: Mapping[str, str], parser: argparse.ArgumentParser) -> int:
    text = environ.get("PORT", "").strip()
    try:
        return _port(text) if text else 8080
    except argparse.ArgumentTypeError as error:
        parser.error(f"PORT: {error}")
