"""Runs in each user's image, on its own Python 3, of any version: begins its server, as the chart's command does.

That one imports JupyterLab to see whether it is there, then begins another process that imports it again. Here the
server begins in the process that has looked, and what takes long to import and is hardly ever used is put off.
"""

import sys

if sys.path[:1] == [""]:  # of `python3 -c`: the repository's files are no modules of the server's
    del sys.path[0]

import importlib.util
import os
import runpy
import shutil
import types

# jsonschema's check of addresses in any language. Its import builds 35 parsers, most of what a server computes before
# it answers; no schema of Jupyter's has such an address (jupyter-server #1559, python-jsonschema #1428 and #1521).
SLOW, USED, NEEDED = "rfc3987_syntax", "is_valid_syntax", "lark"


class Late(types.ModuleType):
    """A module that is executed when something is wanted of it."""

    def __getattr__(self, name: str) -> object:
        load(self)
        return getattr(self, name)


def load(module: types.ModuleType) -> None:
    """Execute a module that was put off, once."""
    if type(module) is Late:
        module.__class__ = types.ModuleType  # type: ignore[assignment]
        try:
            module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
        except BaseException:
            module.__class__ = Late
            raise


def put_off(name: str, function: str, needed: str) -> None:
    """Have ``import name`` cost nothing until its ``function`` is called, or anything else of it is asked for.

    Only where the module that it needs is there, too: else its import has to fail, as it would.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or name in sys.modules or importlib.util.find_spec(needed) is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = Late

    def first(*words: object, **more: object) -> object:
        load(module)
        return getattr(module, function)(*words, **more)

    setattr(module, function, first)
    sys.modules[name] = module


def has_lab() -> bool:
    """Whether JupyterLab 3 or newer is there and whole: upstream's rule."""
    try:
        import jupyterlab  # type: ignore[import-not-found]
        import jupyterlab.labapp  # type: ignore[import-not-found]  # the server finds it imported

        return int(jupyterlab.__version__.split(".", 1)[0]) >= 3
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, there may be the older server
        print("No JupyterLab:", error, file=sys.stderr)
        return False


def runs_here(script: str) -> bool:
    """Whether a program is one that Python's installers write, for this very interpreter and without options."""
    folder = os.path.dirname(sys.executable)
    if os.path.dirname(script) != folder:
        return False
    with open(script, "rb") as file:
        first, second = file.readline().strip(), file.readline()
    if first == b"#!/bin/sh":  # their way around long or movable paths: a line of shell that is Python, too
        return second.startswith(b"'''exec' ") and (os.fsencode(folder) in second or b"realpath" in second)
    interpreter = os.fsdecode(first[2:])
    named = os.path.basename(interpreter).startswith("python") and os.path.dirname(interpreter) == folder
    return first.startswith(b"#!") and named and os.path.realpath(interpreter) == os.path.realpath(sys.executable)


def main(options: "list[str]") -> None:
    """Begin the server in this process; by ``exec``, as upstream, where its program is not this interpreter's."""
    try:
        put_off(SLOW, USED, NEEDED)
    except Exception as error:  # noqa: BLE001 - then it takes as long as it does
        print("Nothing is put off:", error, file=sys.stderr)
    program = "jupyter-lab" if has_lab() else "jupyter-notebook"
    script = shutil.which(program)
    if script is None or not runs_here(script):
        print("Starting", program, "by its own interpreter", file=sys.stderr)
        os.execvp(program, [program, *options])
    print("Starting", script, file=sys.stderr)
    sys.argv[:] = [script, *options]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
