"""What a node can take: its saturation found step by step, and what follows from measured load. Pure but for `find`."""
