"""The command that a user's server begins with: a program of ours in place of the chart's (``singleuser.cmd``)."""

from __future__ import annotations

import ast
from importlib.resources import files


def start_command() -> list[str]:
    """``python3 -c PROGRAM``; the spawner puts the server's options behind it. Read against binderhub b9fad995.

    Raises:
        AssertionError: the program has something that Kubernetes would take for a variable.
    """
    program = bare((files("binder_node.cluster.on_server") / "start.py").read_text(encoding="utf-8"))
    assert "$(" not in program
    return ["python3", "-c", program]


def bare(source: str) -> str:
    """The program without comments, docstrings and types: it is in every pod, which is sent and stored many times."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            words = node.args
            for word in (*words.args, *filter(None, (words.vararg, words.kwarg))):
                word.annotation = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)
