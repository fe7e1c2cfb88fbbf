"""Brings a list of who is banned to the node; ``lists.py`` beside it is :mod:`binder_node.spec.lists`."""
