"""What is told of a run of the engine that failed."""

from __future__ import annotations

from pulumi_atlas.drift._pulumi_cli import Finished, failure_of

OUT = """Updating (dev):
@ updating....
    pulumi:pulumi:Stack proj-dev  1 error

Diagnostics:
  pulumi:pulumi:Stack (proj-dev):
    error: Program failed with an unhandled exception:
    Traceback (most recent call last):
      File "__main__.py", line 6, in <module>
        main()
      File "__main__.py", line 3, in main
        raise RuntimeError('boom')
    RuntimeError: boom
  pulumi-python:dynamic/atlas:Pod (web):
    error: no capacity

Resources:
    3 unchanged
    1 errored
"""


def test_of_a_failed_run_its_errors_are_told_without_progress_counts_and_traceback() -> None:
    said = Finished("pulumi up", 1, OUT, "").last_lines().splitlines()
    assert said == [
        "pulumi:pulumi:Stack (proj-dev):",
        "error: Program failed with an unhandled exception:",
        "RuntimeError: boom",
        "pulumi-python:dynamic/atlas:Pod (web):",
        "error: no capacity",
    ]


def test_what_is_no_run_is_told_from_its_end() -> None:
    assert Finished("pulumi stack", 6, "a\n\nb\n", "error: no stack named 'x' found\n").last_lines(2) == (
        "b\nerror: no stack named 'x' found"
    )
    failure = failure_of(Finished("pulumi stack", 6, "", "error: no stack named 'x' found\n"))
    assert failure.as_json()["kind"] == "validation"
