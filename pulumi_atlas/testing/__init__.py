"""The kit for tests: the conformance suite for providers, strategies, a state machine, and pytest fixtures for programs.

`testing.conformance` · `testing.strategies` · `testing.stateful` · `testing.pytest_plugin` (loaded by pytest itself).
Needs ``pip install 'pulumi-atlas[testing]'``.
"""
