"""A pod takes notes, a volume keeps them, an endpoint searches them; the pod may stop and start as it likes."""

import sys

import pulumi

import pulumi_atlas as atlas

config = pulumi.Config()

shelf = atlas.Volume("shelf", provider="local", size_gb=1)
notes = atlas.Pod(
    "notes",
    provider="local",
    command=[sys.executable, "notes.py"],
    working_dir=".",
    ports=["8000/http"],
    volumes={"/shelf": shelf.id},
    desired_status=config.get("notes") or "running",
    ready=atlas.Ready(port=8000, path="/", timeout_s=60),
)
search = atlas.Endpoint(
    "search",
    provider="local",
    handler="search:handle",
    working_dir=".",
    env={"SHELF": shelf.path.apply(str)},
    workers=atlas.Workers(min=0, max=1, idle_timeout_s=60),
)

pulumi.export("notes", notes.urls["8000"])
pulumi.export("status", notes.status)
pulumi.export("search", search.id)
