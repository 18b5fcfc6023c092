"""Bring a database to the schema of this version. Alembic, without its command line and its configuration files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from pulumi_atlas.errors import ConfigError
from pulumi_atlas.runtime.store._schema import metadata

__all__ = ["head", "known", "migrate", "revision_of"]

_FOLDER = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision that this version works with."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None when it has no tables of ours yet. Reads only."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(connection: Connection, *, to: str | None = None) -> None:
    """Take the steps that are missing, up to the newest. Belongs into a transaction of the caller.

    Raises ConfigError when the database is of a revision that this version does not know.
    """
    scripts, current = _scripts(), revision_of(connection)
    if not known(current):
        raise ConfigError(
            f"the store was made by a newer version (schema {current}, this version knows up to {head()})",
            hint="upgrade pulumi-atlas, or use another store",
        )

    def steps(revision: Any, context: MigrationContext) -> Sequence[Any]:
        return scripts._upgrade_revs(to or "head", revision)

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()


def known(revision: str | None) -> bool:
    """Whether this version can use a database of that revision, if need be after some steps."""
    try:
        return revision is None or _scripts().get_revision(revision) is not None
    except CommandError:
        return False


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(_FOLDER, version_locations=[_FOLDER])
