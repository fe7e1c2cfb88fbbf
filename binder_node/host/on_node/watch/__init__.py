"""Runs on the node, with Python's standard library only (3.10 or newer): remembers who asked for what and was cut.

The kernel cuts (the firewall's table); this program only looks, says who it was, and keeps that longer than pods live.
"""
