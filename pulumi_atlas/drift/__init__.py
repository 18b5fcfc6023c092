"""What differs between state and world, and how to mend it: drives the Pulumi CLI.

`report` looks and changes nothing; what it returns is made of plain values.
"""

from pulumi_atlas.drift._look import report
from pulumi_atlas.drift.findings import DIFFERENCES, Change, DriftItem, DriftReport, Status

__all__ = ["DIFFERENCES", "Change", "DriftItem", "DriftReport", "Status", "report"]
