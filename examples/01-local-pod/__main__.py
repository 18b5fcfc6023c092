"""A pod that serves a page, and an endpoint that takes jobs. Both run on this computer: no account, no bill."""

import sys

import pulumi

import pulumi_atlas as atlas

hello = atlas.Pod(
    "hello",
    provider="local",
    command=[sys.executable, "serve.py"],
    working_dir=".",
    ports=["8000/http"],
    env={"GREETING": "Hello from a pod"},
)
shout = atlas.Endpoint(
    "shout",
    provider="local",
    handler="shout:handle",
    working_dir=".",
    workers=atlas.Workers(min=0, max=2, idle_timeout_s=30),
)

pulumi.export("page", hello.urls["8000"])
pulumi.export("pod", hello.id)
pulumi.export("endpoint", shout.id)
pulumi.export("jobs", shout.url)
pulumi.export("key", shout.api_key)  # a Pulumi secret: ciphertext in the state, [secret] on the screen
