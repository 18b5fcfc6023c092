"""Two machines on a cloud that only exists on paper. To this program it is a provider like any other."""

import pulumi

import pulumi_atlas as atlas

first = atlas.Pod("first", provider="paper", env={"COLOUR": "blue"})
second = atlas.Pod("second", provider="paper", env={"NEXT_TO": first.id}, desired_status="stopped")

pulumi.export("first", first.status)
pulumi.export("second", second.status)
