"""Versions in place: what a node's components are, what runs, what is newer, and what a node keeps for now."""
