"""What runs on the node: standard library only."""
