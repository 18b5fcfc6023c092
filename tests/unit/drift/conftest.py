"""Constructed exports, notes and locks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pulumi_atlas.client import Intent
from pulumi_atlas.ids import Birth, Owner
from pulumi_atlas.processes import ProcessIdentity, boot_id, host_name, me

STACK_ID = "e73d08e9f20579cb"
DEAD = ProcessIdentity(pid=1, boot=boot_id(), started=1, host=host_name())


def resource(name: str, kind: str = "Pod", *, birth: str | None = None, ident: str = "", **more: Any) -> dict[str, Any]:
    inputs = {"birth": birth, "owner": f"stack:{STACK_ID}:atlas:{kind}::{name}", "provider": "local"}
    return {
        "urn": f"urn:pulumi:dev::proj::pulumi-python:dynamic/atlas:{kind}::{name}",
        "type": f"pulumi-python:dynamic/atlas:{kind}",
        "id": ident,
        "inputs": {k: v for k, v in inputs.items() if v},
        **more,
    }


def export(*resources: dict[str, Any], pending: tuple[tuple[str, dict[str, Any]], ...] = ()) -> dict[str, Any]:
    root = {"urn": "urn:pulumi:dev::proj::pulumi:pulumi:Stack::proj-dev", "type": "pulumi:pulumi:Stack"}
    stack = {"urn": "…::atlas", "type": "pulumi-python:dynamic/atlas:Stack", "id": STACK_ID, "inputs": {}}
    operations = [{"type": kind, "resource": row} for kind, row in pending]
    return {"version": 3, "deployment": {"resources": [root, stack, *resources], "pending_operations": operations}}


@pytest.fixture
def note_for() -> Callable[..., Intent]:
    def make(
        birth: str, *, owner: str = f"stack:{STACK_ID}:atlas:Pod::web", alive: bool = False, **more: Any
    ) -> Intent:
        fields: dict[str, Any] = {
            "kind": "pod", "provider": "local", "account": None, "identity": "local:x", "name": "web", "spec_hash": "0",
            "writer": me() if alive else DEAD, "folder": "/srv/proj", **more,
        }  # fmt: skip
        return Intent(birth=Birth(birth), owner=Owner.parse(owner), **fields)

    return make
