"""Who was cut on a node and why, and what became of a launch: read from what the node remembers."""
