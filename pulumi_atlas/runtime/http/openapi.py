"""The published document of the API (OpenAPI 3.1): ``python -m pulumi_atlas.runtime.http.openapi [FILE]`` writes it.

It says what each route takes and answers, with which keys it may be asked, and how it refuses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi_atlas.runtime.http.problem import MEDIA_TYPE
from pulumi_atlas.runtime.http.roles import ROUTES

__all__ = ["main", "with_roles"]


def with_roles(plain: Mapping[str, Any]) -> dict[str, Any]:
    """FastAPI's document with what the gate does: keys, and who may use which route."""
    told = json.loads(json.dumps(plain))
    told["components"].setdefault("securitySchemes", {})["bearer"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, a session's touch token, or its guard key.",
    }
    for route in ROUTES:
        operation = told["paths"].get(route.path, {}).get(route.method.lower())
        if operation is None:
            continue
        operation["security"] = [{"bearer": []}] if route.roles else []
        if route.roles:
            operation["x-roles"] = sorted(route.roles)
        for answer in operation["responses"].values():
            if MEDIA_TYPE in answer.get("content", {}):
                answer["content"] = {MEDIA_TYPE: answer["content"][MEDIA_TYPE]}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of a refusal is never answered
        told["components"]["schemas"].pop(name, None)
    return dict(told)


def main(arguments: list[str]) -> int:
    """Write the document to a file, or print it."""
    from pulumi_atlas.runtime.http.app import published

    text = json.dumps(published(), indent=1, ensure_ascii=False) + "\n"
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
