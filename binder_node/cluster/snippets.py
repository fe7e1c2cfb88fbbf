"""Texts for the chart's ``extraConfig``, kept out of each other's way."""

from __future__ import annotations

from textwrap import indent


def apart(source: str) -> str:
    """``source`` as the body of a function: its names are its own.

    BinderHub's chart runs all of them, an operator's too, in one namespace (binderhub's
    helm-chart/binderhub/files/binderhub_config.py: ``exec(snippet)``). A name that a later one gives another meaning
    would have it for the classes of the earlier ones, too, and show in the middle of a launch.
    """
    return f"def _binder_node(c):\n{indent(source, '    ')}\n\n_binder_node(c)\n"
