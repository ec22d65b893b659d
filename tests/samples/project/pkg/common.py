"""What the flows of the project share."""

REGIONS = ("north", "south")
