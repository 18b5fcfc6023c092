"""Rented GPU and CPU machines as code."""

__version__ = "0.1.0"
