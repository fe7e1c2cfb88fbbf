"""The spec room; see docs/architecture.md."""
