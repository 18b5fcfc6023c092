"""The conformance suite: what every provider must do, by verb. The docstrings of `providers.contract` are the semantics.

The author of a provider writes a `Harness` and a class, and that is the whole conformance file::

    from pulumi_atlas.testing.conformance import Harness, ProviderConformance

    class AcmeHarness(Harness):
        name = "acme"

        def provider(self):
            return AcmeProvider(Access("acme", key="test", base_url=fake_cloud.url))

        def spec(self, **fields):
            return ComputeSpec(**{"image": "busybox", **fields})

    class TestAcme(ProviderConformance):
        harness_class = AcmeHarness

An ability that the provider does not have, or a way behind its back that the harness does not give, skips the tests that
need it with a sentence. Each suite can also be used alone (`ComputeConformance`, `VolumeConformance` …). Needs pytest.
"""

from pulumi_atlas.testing.conformance._compute import ComputeConformance
from pulumi_atlas.testing.conformance._endpoints import EndpointConformance
from pulumi_atlas.testing.conformance._errors import ErrorConformance
from pulumi_atlas.testing.conformance._harness import Behaviour, Harness
from pulumi_atlas.testing.conformance._identity import IdentityConformance
from pulumi_atlas.testing.conformance._jobs import JobConformance
from pulumi_atlas.testing.conformance._logs import LogConformance
from pulumi_atlas.testing.conformance._offers import OfferConformance
from pulumi_atlas.testing.conformance._power import OnExitConformance, StopConformance
from pulumi_atlas.testing.conformance._retag import RetagConformance
from pulumi_atlas.testing.conformance._stage import Stage, story
from pulumi_atlas.testing.conformance._suite import Suite
from pulumi_atlas.testing.conformance._update import UpdateConformance
from pulumi_atlas.testing.conformance._urls import StableUrlConformance
from pulumi_atlas.testing.conformance._volumes import VolumeConformance

__all__ = [
    "Behaviour",
    "ComputeConformance",
    "EndpointConformance",
    "ErrorConformance",
    "Harness",
    "IdentityConformance",
    "JobConformance",
    "LogConformance",
    "OfferConformance",
    "OnExitConformance",
    "ProviderConformance",
    "RetagConformance",
    "StableUrlConformance",
    "Stage",
    "StopConformance",
    "Suite",
    "UpdateConformance",
    "VolumeConformance",
    "story",
]


class ProviderConformance(
    ComputeConformance,
    IdentityConformance,
    StopConformance,
    OnExitConformance,
    UpdateConformance,
    RetagConformance,
    VolumeConformance,
    EndpointConformance,
    JobConformance,
    LogConformance,
    OfferConformance,
    StableUrlConformance,
    ErrorConformance,
):
    """All suites. Set `harness_class` in a subclass whose name begins with `Test`."""
