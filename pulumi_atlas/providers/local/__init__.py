"""This computer as a cloud: pods are processes, volumes are folders, endpoints are small servers on loopback."""

from pulumi_atlas.providers.local._provider import LocalProvider

__all__ = ["LocalProvider"]
