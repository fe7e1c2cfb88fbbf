"""Load: simulated users against a node or a federation, and what became of them; see docs/architecture.md."""
