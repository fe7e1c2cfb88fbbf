"""Look at a machine every few seconds and tell it, a line of JSON each time, until nobody listens. Changes nothing.

Arguments: seconds between looks, the folder for state, K3s's kubeconfig. Ends when stdin does. Sent as text
and run by the node's own python3: standard library only, nothing newer than Python 3.10.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import ssl
import sys
import time
from typing import Any
from urllib.parse import urlsplit

# A table has what `kubectl get pods` shows and the pods' labels: a tenth of the pods themselves.
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
# In every namespace: all count against the kubelet's limit. From the API server's memory, not its database's.
PODS = "/api/v1/pods?resourceVersion=0"
API_SECONDS = 5


def processors() -> tuple[int, int, int]:
    """Ticks since the start: all, idle, waiting for a disk (proc(5), /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        # guest and guest_nice, the last two, are in user and nice already.
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return sum(ticks), ticks[3], ticks[4]


def memory() -> tuple[int, int]:
    """Bytes: all, available."""
    found = {}
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"], found["MemAvailable"]


def disk(folder: str) -> tuple[int, int]:
    """Bytes: all that users may have, and what is used; root's reserve left out, as df and the kubelet do."""
    seen = os.statvfs(folder)
    used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    return used + seen.f_bavail * seen.f_frsize, used


class Api:
    """Kubernetes's API by K3s's own kubeconfig, one connection for all looks."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.connection: http.client.HTTPSConnection | None = None

    def pods(self) -> dict[str, int] | None:
        """Pods by kind; None where the API does not answer."""
        try:
            if self.connection is None:
                self.connection = self.connect()
            self.connection.request("GET", PODS, headers={"Accept": TABLE})
            answer = self.connection.getresponse()
            text = answer.read()
            return counted(json.loads(text)) if answer.status == 200 else None
        except (OSError, ValueError, KeyError, IndexError, http.client.HTTPException):
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return None

    def connect(self) -> http.client.HTTPSConnection:
        with open(self.config, encoding="utf-8") as file:
            rows = [line.strip().partition(": ") for line in file]
        found = {name: value.strip('"') for name, _, value in rows}
        trust = base64.b64decode(found["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=trust)
        # Certificate and key from memory: this program leaves no file behind.
        handle = os.memfd_create("client")
        for name in ("client-certificate-data", "client-key-data"):
            os.write(handle, base64.b64decode(found[name]) + b"\n")
        context.load_cert_chain(f"/proc/self/fd/{handle}")
        os.close(handle)
        server = urlsplit(found["server"])
        return http.client.HTTPSConnection(
            server.hostname or "", server.port or 443, timeout=API_SECONDS, context=context
        )


def counted(table: dict[str, Any]) -> dict[str, int]:
    """Pods of a table by kind, as ``Sample`` has them."""
    status = [column["name"] for column in table["columnDefinitions"]].index("Status")
    found = {"users": 0, "starting": 0, "builds": 0, "others": 0}
    for row in table["rows"] or ():
        labels = row["object"]["metadata"].get("labels") or {}
        component = labels.get("component", "")
        kind = {"singleuser-server": "users", "binderhub-build": "builds"}.get(component, "others")
        found[kind] += 1
        if kind == "users" and row["cells"][status] in ("Pending", "ContainerCreating", "Init"):
            found["starting"] += 1
    return found


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def watch(interval: float, folder: str, api: Api) -> None:
    before = processors()
    tell({"cpus": os.cpu_count(), "memory": memory()[0], "disk": disk(folder)[0]})
    following = time.monotonic()
    while True:
        following += interval
        if select.select([sys.stdin], [], [], max(0.0, following - time.monotonic()))[0]:
            return
        now = processors()
        ticks = max(1, now[0] - before[0])
        total, available = memory()
        tell(
            {
                "cpu": round(1 - (now[1] - before[1] + now[2] - before[2]) / ticks, 4),
                "waiting": round((now[2] - before[2]) / ticks, 4),
                "load": os.getloadavg()[0],
                "memory": total - available,
                "disk": disk(folder)[1],
                **(api.pods() or {}),
            }
        )
        before = now


if __name__ == "__main__":
    try:
        watch(float(sys.argv[1]), sys.argv[2], Api(sys.argv[3]))
    except (BrokenPipeError, KeyboardInterrupt):
        # Nobody listens any more, and nothing is left to be flushed to them.
        os._exit(0)
