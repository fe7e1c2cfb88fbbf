"""The binder room; see docs/architecture.md."""
