"""The node's public names: records in the zone, and whether its name servers lead to the machine."""
