"""What a supervisor is told by the provider, as one private JSON file in the endpoint's folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pulumi_atlas import files
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.providers.local._supervisor._scaling import Limits

__all__ = ["FILE", "Options", "Settings"]

FILE = "settings.json"


@dataclass(frozen=True)
class Options:
    """What only `local` knows (`provider_options` of an endpoint); all in seconds.

    `result_retention_s`: how long results are kept after the end (runsync: at most 60). `stop_grace_s`: between asking a
    worker to stop and killing it. `ping_interval_s`: how often a worker shows that it lives. `worker_lost_s`: a worker
    that was silent for so long is given up. `start_timeout_s`: until a new worker must have asked for its first job.
    `webhook_delay_s`: between two tries to deliver a webhook.
    """

    result_retention_s: float = 1800.0
    stop_grace_s: float = 5.0
    ping_interval_s: float = 2.0
    worker_lost_s: float = 30.0
    start_timeout_s: float = 600.0
    webhook_delay_s: float = 10.0


@dataclass(frozen=True)
class Settings:
    """One endpoint: where it listens, its keys, its worker and its limits.

    `key` opens the job API, `control_key` the provider's own routes. `env` is what the user adds to the environment of
    the workers, which is the supervisor's. `worker` is the command of one worker.
    """

    endpoint: str
    port: int
    key: str = field(repr=False)
    control_key: str = field(repr=False)
    birth: str
    worker: tuple[str, ...]
    working_dir: str
    env: dict[str, str] = field(repr=False)
    min: int
    max: int
    idle_timeout_s: float
    execution_timeout_s: float
    queue_ttl_s: float
    max_retries: int
    options: Options

    @property
    def limits(self) -> Limits:
        return Limits(self.min, self.max, self.idle_timeout_s)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def save(self, folder: Path) -> None:
        files.write_json(folder / FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises ProviderFailure when the file is missing or damaged."""
        fields: Any = files.read_json(folder / FILE)
        try:
            options = Options(**fields.pop("options"))
            return cls(**{**fields, "worker": tuple(fields["worker"]), "options": options})
        except (AttributeError, KeyError, TypeError) as error:
            raise ProviderFailure(f"{folder / FILE} is missing or damaged: {error}") from error
