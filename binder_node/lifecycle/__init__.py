"""The lifecycle room; see docs/architecture.md."""
