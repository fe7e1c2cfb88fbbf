"""The storage room; see docs/architecture.md."""
