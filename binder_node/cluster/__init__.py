"""The cluster room; see docs/architecture.md."""
