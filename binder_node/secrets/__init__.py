"""The secrets room; see docs/architecture.md."""
