"""What the engine can do to a stack's state and configuration without running the program.

Whatever holds a secret goes to the engine through a file without a name, readable by its owner only, on standard input: it
is in no folder, on no command line and in no environment, and is gone with the process however that ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pulumi_atlas.drift._pulumi_cli import PulumiCli

__all__ = ["StackEditor"]

_CALM = ("--non-interactive", "--color", "never")
_STDIN = "/dev/stdin"
_READ_S = 60.0


class StackEditor(PulumiCli):
    """As `PulumiCli`. Every method raises AtlasError when pulumi fails."""

    _config: dict[str, str] | None = None

    def stack_names(self) -> list[str]:
        """The names of the project's stacks."""
        done = self._checked(["stack", "ls", "--json", *_CALM], _READ_S, gently=False)
        return [str(row["name"]) for row in json.loads(done.stdout or "[]")]

    def import_resources(self, content: bytes) -> None:
        """Take resources into the state. `content`: the engine's import file."""
        words = ("import", "--file", _STDIN, "--generate-code=false", "--protect=false", "--yes", "--skip-preview")
        self._change(*words, *_CALM, *self._stack_option(), stdin=content)

    def forget_resource(self, urn: str) -> None:
        """Take a resource out of the state; what it stands for stays. The engine refuses while others depend on it."""
        self._change("state", "delete", urn, "--yes", *_CALM, *self._stack_option())

    def replace_state(self, export: Mapping[str, Any]) -> None:
        """Put a whole state in place, secrets as the ciphertext that `stack_export` gave."""
        self._change("stack", "import", *_CALM, *self._stack_option(), stdin=json.dumps(export).encode())

    def settings(self, namespace: str) -> dict[str, str]:
        """The configuration of one namespace (a project's own has its name), without that before each name.

        Secrets are in clear, so it is never to be shown. Asked for once: what this process sets itself is not in it.
        """
        if self._config is None:
            rows = json.loads(self._read("config", "--show-secrets", "--json").stdout or "{}")
            values = {name: row.get("value") for name, row in rows.items() if isinstance(row, dict)}
            self._config = {name: str(value) for name, value in values.items() if value is not None}
        head = f"{namespace}:"
        return {name.removeprefix(head): value for name, value in self._config.items() if name.startswith(head)}

    def atlas_config(self) -> dict[str, str]:
        return {f"atlas:{name}": value for name, value in self.settings("atlas").items()}

    def set_secret(self, name: str, value: str) -> None:
        """Keep a secret in the stack's configuration."""
        self._change("config", "set", "--secret", name, *_CALM, *self._stack_option(), stdin=value.encode())
