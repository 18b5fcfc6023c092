"""What the companion's figures share: processes that are measured, the load on them, and stores that are full already."""
