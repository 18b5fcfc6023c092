"""The programs that are measured: pods of ours, and the same number of resources of an empty dynamic provider."""

from __future__ import annotations

__all__ = ["naive", "pods"]

_NAIVE = '''
    """A dynamic provider as a tutorial writes it, but by reference, so that its state is as small as can be."""
    import os
    import time

    from pulumi.dynamic import CreateResult, ReadResult, Resource, ResourceProvider

    SLEEP_S = {sleep_s!r}


    class EmptyProvider(ResourceProvider):
        serialize_as_secret_always = False

        def create(self, props):
            if SLEEP_S:
                time.sleep(SLEEP_S)
            return CreateResult(os.urandom(6).hex(), props)

        def read(self, id_, props):
            with open(os.environ["NAIVE_CALLS"], "a") as calls:
                calls.write("get\\n")
            return ReadResult(id_, props)


    class Empty(Resource):
        def __init__(self, name, opts=None, **props):
            super().__init__(EmptyProvider(), name, props, opts)
'''

_NAIVE_MAIN = """
    from naive import Empty

    for number in range({count}):
        Empty(f"pod-{{number}}", command=["serve"], image="example/image:1")
"""

_PODS = """
    import pulumi_atlas as atlas

    for number in range({count}):
        atlas.Pod(f"pod-{{number}}", {arguments})
"""


def pods(count: int, arguments: str) -> dict[str, str]:
    """The files of a program that declares `count` pods; `arguments` is Python source."""
    return {"__main__.py": _PODS.format(count=count, arguments=arguments)}


def naive(count: int, *, sleep_s: float = 0) -> dict[str, str]:
    """The files of a program with `count` resources of an empty dynamic provider whose create takes `sleep_s` seconds.

    Its reads append a line to the file that NAIVE_CALLS names.
    """
    return {"naive.py": _NAIVE.format(sleep_s=sleep_s), "__main__.py": _NAIVE_MAIN.format(count=count)}
