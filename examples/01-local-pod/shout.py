"""What a job does. A worker imports this module and calls `handle` once for each job."""

from typing import Any


def handle(job: dict[str, Any]) -> dict[str, str]:
    return {"text": str(job["input"]["text"]).upper() + "!"}
