"""Programs that run on a node; see docs/architecture.md."""
