"""Runs on the node."""
