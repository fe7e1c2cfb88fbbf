"""The testbed's "internet": one host on the node's bridge, with a registry mirror and a git server."""
