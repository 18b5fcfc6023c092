"""The outputs of each resource. The program declares them, the provider process fills them.

Arguments that are outputs too are declared as well: without that, one that is not given would be no attribute at all.
"""

from __future__ import annotations

__all__ = ["ENDPOINT", "POD", "VOLUME"]

ENDPOINT = ("status", "reason", "url", "api_key", "cost_per_hour", "created_at", "account_id")
POD = (
    *("status", "reason", "exit_code", "urls", "public_ip", "cost_per_hour", "region", "gpu_name"),
    *("created_at", "account_id", "token", "signing_key", "signing_kid"),
    *("command", "image", "env", "ports", "volumes", "desired_status"),
)
VOLUME = ("status", "path", "cost_per_hour", "attached_to", "created_at", "account_id", "size_gb")
