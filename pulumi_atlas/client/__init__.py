"""The verbs over all providers, with ownership, intents and coalesced reads: `Atlas` and `AsyncAtlas`."""

from pulumi_atlas.client.aio import AsyncAtlas
from pulumi_atlas.client.intents import Intent, IntentBook
from pulumi_atlas.client.stop import Stop
from pulumi_atlas.client.sync import Atlas

__all__ = ["AsyncAtlas", "Atlas", "Intent", "IntentBook", "Stop"]
