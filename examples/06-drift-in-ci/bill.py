"""What differs and what it costs, for a chat message: the same report as values."""

from pulumi_atlas.drift import DIFFERENCES, report

found = report()
for item in found.items:
    if item.status in DIFFERENCES:
        name = item.name or item.provider
        print(f"{item.status} {item.kind} {name}: {item.reason}; {item.cost_per_hour or 0:.2f} per hour; {item.next}")
print("clean" if found.clean else "not clean" if found.complete else "not everything could be judged")
