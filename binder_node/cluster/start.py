"""The command that a user's server begins with: a program of ours in place of the chart's (``singleuser.cmd``)."""

from __future__ import annotations

from importlib.resources import files


def start_command() -> list[str]:
    """``python3 -c PROGRAM``; the spawner puts the server's options behind it. Read against binderhub b9fad995.

    Raises:
        AssertionError: the program has something that Kubernetes would take for a variable.
    """
    program = (files("binder_node.cluster.on_server") / "start.py").read_text(encoding="utf-8")
    assert "$(" not in program
    return ["python3", "-c", program]
