"""The providers room; see docs/architecture.md."""
