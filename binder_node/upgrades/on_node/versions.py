"""Ask everything that runs on a node which version it is (JSON on stdin), and print the answers (JSON on stdout).

Sent as text and run by the node's own python3 as root: standard library only, nothing newer than Python 3.10. What is
running is asked, not the file that the next start would take: a process by the executable that it was started from.
"""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from typing import Any


def said(*words: str) -> str:
    """What a command printed; empty where it failed or did not end."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def running(unit: str) -> str:
    """What the unit's own process says when it is asked for its version."""
    number = said("systemctl", "show", "-p", "MainPID", "--value", unit)
    return said(f"/proc/{number}/exe", "--version") if number not in ("", "0") else ""


def chart(namespace: str, release: str) -> str:
    """The version of the chart in the newest of Helm's records that is in force."""
    labels = f"owner=helm,name={release},status=deployed"
    listed = said("k3s", "kubectl", "get", "secrets", "-n", namespace, "-l", labels, "-o", "json")
    records = json.loads(listed)["items"] if listed else []
    if not records:
        return ""
    newest = max(records, key=lambda item: int(item["metadata"]["labels"]["version"]))
    # Kubernetes encodes once more what Helm has encoded.
    packed = base64.b64decode(base64.b64decode(newest["data"]["release"]))
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return str(found["chart"]["metadata"]["version"])


def main() -> None:
    ask = json.load(sys.stdin)
    answer = {
        "units": {unit: running(unit) for unit in ask["units"]},
        "kubelet": said(
            "k3s", "kubectl", "get", "node", ask["node"], "-o", "jsonpath={.status.nodeInfo.kubeletVersion}"
        ),
        "buildkitd": said("buildctl", "--addr", ask["buildkit"], "--timeout", "10", "debug", "info"),
        "chart": chart(ask["namespace"], ask["release"]) if ask["release"] else "",
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
