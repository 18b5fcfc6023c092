"""Uses the component: as many replicas as the configuration says, and one address for all of them."""

import pulumi
from website import Website

replicas = pulumi.Config().require_int("replicas")
site = Website("site", replicas=replicas, text="Served by")

pulumi.export("address", site.address)
