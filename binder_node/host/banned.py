"""Who is banned beyond the firewall's own table: repositories, and the list at a URL that a timer reads."""

from __future__ import annotations

import json
from importlib.resources import files

from binder_node.host.programs import FOLDER as PROGRAMS
from binder_node.host.programs import FROM, program, run
from binder_node.host.recording import recorded
from binder_node.host.timed import service, timer
from binder_node.host.wanted import Component, File, Folder, Unit
from binder_node.layout import BANNED_FETCHED, BANNED_OWN, BANNED_STATE, ETC
from binder_node.spec import lists
from binder_node.spec.model import Spec

UNIT, TIMER = "binder-node-banned.service", "binder-node-banned.timer"
FOLDER, CONFIG = f"{PROGRAMS}/banned", str(ETC / "banned.json")
SET = "inet binder_node banned_fetched"
EVERY, FIRST, SECONDS = 900, "5s", 180


def banned(spec: Spec, address: str) -> Component:
    """``address`` is the node's: a list that has it is refused."""
    programs = (
        *(program(f"banned/{name}") for name in ("__init__", "__main__")),
        File(f"{FOLDER}/lists.py", (files("binder_node.spec") / "lists.py").read_bytes()),
    )
    own = "".join(f"{lists.place(one)}\n" for one in spec.abuse.banned_repositories)
    by_url = spec.abuse.banned_url is not None
    return Component(
        "banned",
        # BinderHub's container reads it.
        folders=(Folder(folder(spec)), *([Folder(FOLDER)] if by_url else [])),
        files=(
            File(f"{folder(spec)}/{BANNED_OWN}", own.encode()),
            *((*programs, File(CONFIG, _config(spec, address))) if by_url else ()),
        ),
        units=(
            Unit(UNIT, _unit(spec), enabled=False, running=False),
            Unit(TIMER, timer("the list of who is banned", FIRST, f"{EVERY}s", exact="1s")),
        )
        if by_url
        else (),
    )


def folder(spec: Spec) -> str:
    """Where the lists of repositories lie."""
    return str(spec.machine.state / BANNED_STATE)


def _config(spec: Spec, address: str) -> bytes:
    config = {
        "url": spec.abuse.banned_url,
        "own": address,
        "set": SET,
        "last": f"{folder(spec)}/last.json",
        "repositories": f"{folder(spec)}/{BANNED_FETCHED}",
    }
    return (json.dumps(config, indent=1) + "\n").encode()


def _unit(spec: Spec) -> str:
    return service(
        "List of who is banned",
        "network-online.target binder-node-firewall.service",
        [
            ("ExecStart", run("banned", CONFIG)),
            FROM,
            recorded(spec, "banned", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
            # Root, for the firewall's set alone.
            ("CapabilityBoundingSet", "CAP_NET_ADMIN"),
        ],
        folder=folder(spec),
        rank=(("Nice", "10"),),
    )
