"""Two pods that are to run all the time."""

import pulumi

import pulumi_atlas as atlas

for name in ("trainer", "monitor"):
    pod = atlas.Pod(name, provider="local", command=["sleep", "86400"])
    pulumi.export(name, pod.id)
