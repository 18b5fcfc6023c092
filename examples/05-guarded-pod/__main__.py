"""Two guarded pods: one whose Python program guards itself, and one with the guard in front of somebody else's program."""

import sys

import pulumi

import pulumi_atlas as atlas

generation = pulumi.Config().get_int("generation") or 0

album = atlas.Pod(
    "album",
    provider="local",
    command=[sys.executable, "album.py"],
    working_dir=".",
    ports=["8000/http"],
    auth="signed_url",
    auth_generation=generation,
)
files = atlas.Pod(
    "files",
    provider="local",
    command=[
        *(sys.executable, "-m", "atlas_session.guard", "--host", "127.0.0.1", "--"),
        *("sh", "-c", f'exec {sys.executable} -m http.server "$PORT" --bind 127.0.0.1'),
    ],
    working_dir="files",
    ports=["8000/http"],
    auth="bearer",
    ready=atlas.Ready(path="/"),
)

pulumi.export("album", album.urls["8000"])
pulumi.export("token", album.token)  # may be handed to a visitor
pulumi.export("signing_key", album.signing_key)  # stays on your server
pulumi.export("signing_kid", album.signing_kid)
pulumi.export("generation", generation)
pulumi.export("files", files.urls["8000"])
pulumi.export("files_token", files.token)
