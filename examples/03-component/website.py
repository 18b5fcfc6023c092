"""A component: several pods behind one, declared once and used like any resource."""

from __future__ import annotations

import sys

import pulumi

import pulumi_atlas as atlas


class Website(pulumi.ComponentResource):
    """`replicas` pods that serve the same page, and a pod in front that sends each request to the next of them."""

    address: pulumi.Output[str]
    """URL of the pod in front."""

    def __init__(
        self,
        name: str,
        *,
        replicas: int,
        text: pulumi.Input[str],
        provider: str = "local",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("examples:index:Website", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        pods = [
            atlas.Pod(
                f"{name}-{number}",
                provider=provider,
                command=[sys.executable, "replica.py"],
                working_dir=".",
                ports=["8000/http"],
                env={"TEXT": text, "NUMBER": str(number)},
                opts=child,
            )
            for number in range(1, replicas + 1)
        ]
        front = atlas.Pod(
            f"{name}-front",
            provider=provider,
            command=[sys.executable, "front.py"],
            working_dir=".",
            ports=["8000/http"],
            env={"REPLICAS": pulumi.Output.all(*[pod.urls["8000"] for pod in pods]).apply(" ".join)},
            opts=child,
        )
        self.address = front.urls["8000"]
        self.register_outputs({"address": self.address})
