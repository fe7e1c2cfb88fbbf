"""The artifacts room; see docs/architecture.md."""
