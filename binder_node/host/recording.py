"""How what a timer starts has ended, as a file in the state folder for each: what is dead for days is seen."""

from __future__ import annotations

from binder_node.host.observe import script
from binder_node.host.wanted import Component, File, Folder
from binder_node.layout import ETC, JOBS_STATE
from binder_node.spec.model import Spec

PROGRAM = str(ETC / "record.py")


def recording(spec: Spec) -> Component:
    """The program that writes them, and their folder."""
    return Component(
        "recording",
        folders=(Folder(folder(spec)),),
        files=(File(PROGRAM, script("record").encode(), 0o755),),
    )


def folder(spec: Spec) -> str:
    return f"{spec.machine.state}/{JOBS_STATE}"


def recorded(spec: Spec, name: str, unit: str) -> tuple[str, str]:
    """The line of a unit that has its end written down, however it ended; outside of its sandbox, and with no effect on
    its result."""
    return "ExecStopPost", f"-+/usr/bin/python3 {PROGRAM} {folder(spec)} {name} {unit}"
