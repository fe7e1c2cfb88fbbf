"""Runs on the node, as root, with Python's standard library only: what has used its cores so far, by part.

Out: ``{"at": seconds, "cpus": n, "busy": core-seconds of the whole machine, "memory": bytes in use, "total": bytes,
"parts": {NAME: core-seconds}}``. Two of them, before and after, tell what went into what was done between. Ended pods
count with ``sessions``; ``begun`` is the beginning and ending of containers: runc, shims, and whatever else ended.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
# What a pod's processes are known by, in their command lines.
PODS = {
    "jupyterhub_idle_culler": "hub",
    "bin/jupyterhub": "hub",
    "configurable-http-proxy": "proxy",
    "binderhub": "binder",
    "repo2docker": "builds",
    "traefik": "traefik",
    "coredns": "coredns",
}


def stat(process: Path) -> tuple[str, float, float]:
    """A process's name, its own core-seconds, and those of its ended children."""
    text = (process / "stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return name, own / TICK, children / TICK


def pod_part(command: str) -> str:
    """Which part a process in a pod belongs to."""
    return next((part for word, part in PODS.items() if word in command), "sessions")


def used(group: str) -> float | None:
    """Core-seconds of a control group below the root, ended programs too; None where there is none."""
    old, new = Path("/sys/fs/cgroup/cpuacct", group, "cpuacct.usage"), Path("/sys/fs/cgroup", group, "cpu.stat")
    try:
        if old.exists():
            return int(old.read_text()) / 1e9
        return int(dict(line.split() for line in new.read_text().splitlines())["usage_usec"]) / 1e6
    except (OSError, KeyError):
        return None


def parts(busy: float) -> dict[str, float]:
    """Core-seconds by part, of ``busy`` in all."""
    found: dict[str, float] = {}
    inside = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, own, children = stat(process)
            pod = "kubepods" in (process / "cgroup").read_text()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") if pod else ""
        except OSError:  # it has ended
            continue
        # A pod's first process is a shim's child, and the shim init's: they would count it once more.
        spent = own if process.name == "1" or name.startswith("containerd-shim") else own + children
        part = pod_part(command) if pod else name
        found[part] = found.get(part, 0.0) + spent
        inside += spent if pod else 0.0
    pods = used("kubepods") or used("kubepods.slice")
    if pods is not None:
        found["sessions"] = found.get("sessions", 0.0) + max(0.0, pods - inside)
        found["begun"] = max(0.0, busy - sum(found.values()))
    return {part: round(seconds, 2) for part, seconds in found.items() if seconds >= 0.01}


def main() -> None:
    memory = {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()
    }
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    # The root group's is the machine's own; /proc/stat is the whole computer's where the machine is a container.
    busy = used("") or (sum(ticks) - ticks[3] - ticks[4]) / TICK
    print(
        json.dumps(
            {
                "at": time.monotonic(),
                "cpus": os.cpu_count(),
                "busy": busy,
                "memory": memory["MemTotal"] - memory["MemAvailable"],
                "total": memory["MemTotal"],
                "parts": parts(busy),
            }
        )
    )


if __name__ == "__main__":
    main()
