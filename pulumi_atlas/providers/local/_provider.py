"""The provider class of `local`: pods, volumes, logs, endpoints and jobs on this computer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pulumi_atlas.errors import Failure
from pulumi_atlas.models import ComputeSpec, EndpointSpec, VolumeSpec
from pulumi_atlas.providers.contract import Access
from pulumi_atlas.providers.local import _endpoint_spec, _translate
from pulumi_atlas.providers.local._endpoints import LocalEndpoints
from pulumi_atlas.providers.local._logs import LocalLogs
from pulumi_atlas.providers.local._pods import ACCEPTS, REASONS
from pulumi_atlas.providers.local._records import PodRecords
from pulumi_atlas.providers.local._retag import LocalRetag
from pulumi_atlas.providers.local._volumes import LocalVolumes

__all__ = ["LocalProvider"]


class LocalProvider(LocalLogs, LocalVolumes, LocalEndpoints, LocalRetag):
    """This computer as a cloud: free of charge, without GPUs to rent, and real.

    All state lives in one folder: `ATLAS_LOCAL_DIR`, else the setting `dir`, else the user's data folder. Several
    processes may use it at once. Options of pods: `grace_s`, seconds between TERM and KILL (10).
    """

    name: ClassVar[str] = "local"
    accepts: ClassVar[frozenset[str]] = ACCEPTS
    reasons: ClassVar[Mapping[str, str]] = REASONS
    listing_lag_s: ClassVar[float] = 0.0
    settle_s: ClassVar[float] = 1.0
    key_variable: ClassVar[str | None] = None

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._pods = PodRecords(self._store, self.accepts, self.reasons)

    @staticmethod
    def check_spec(spec: ComputeSpec | VolumeSpec | EndpointSpec) -> Iterable[Failure]:
        """What this provider refuses of a spec's values: names and options of its own, places that overlap."""
        if isinstance(spec, EndpointSpec):
            return _endpoint_spec.failures_of(spec)
        return _translate.check_spec(spec) if isinstance(spec, ComputeSpec) else _translate.check_volume_spec(spec)

    async def aclose(self) -> None:
        """Nothing to close: pods live on without us."""
