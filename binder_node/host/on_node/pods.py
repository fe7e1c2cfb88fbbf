"""Remove pods that serve nobody: those that have ended, servers that the hub does not know, builds that last too long.

Put on the node as a file, and run there by its own python3: standard library only, nothing newer than Python 3.10.
Told by a JSON file. BinderHub counts pods in every phase against its quota (its quota.py), and the hub forgets servers
whose database went.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from datetime import datetime, timezone
from typing import Any

ANSWER = 30
USER, BUILD = "singleuser-server", "binderhub-build"
ANNOTATIONS = ("hub.jupyter.org/username", "hub.jupyter.org/servername")
Server = tuple[str, str]
ENDED, ORPHAN, LONG = "had ended", "the hub did not know", "built for too long"


class Failure(Exception):
    """What went wrong, in one line."""


# --- what goes: pure -----------------------------------------------------------------------------------------------


def parsed(stamp: str) -> datetime:
    """Kubernetes' time."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def ended(pod: dict[str, Any]) -> datetime:
    """When a pod has ended: its last container did, or, where none ever ran, its last condition came."""
    status = pod["status"]
    containers = [one.get("state", {}).get("terminated", {}) for one in status.get("containerStatuses", [])]
    stamps = [str(one["finishedAt"]) for one in containers if one.get("finishedAt")]
    stamps = stamps or [str(one["lastTransitionTime"]) for one in status.get("conditions", []) if one.get("lastTransitionTime")]  # fmt: skip  # noqa: E501
    return max(map(parsed, stamps), default=parsed(pod["metadata"]["creationTimestamp"]))


def server(pod: dict[str, Any]) -> Server | None:
    """User and server whose pod it is; None where it does not say."""
    said = pod["metadata"].get("annotations") or {}
    return (str(said[ANNOTATIONS[0]]), str(said.get(ANNOTATIONS[1], ""))) if ANNOTATIONS[0] in said else None


def why(pod: dict[str, Any], limits: dict[str, Any], known: set[Server] | None, now: datetime) -> str:
    """Why a pod goes, empty where it stays. ``limits`` in seconds; ``known`` are the hub's servers, None: it did not
    tell."""
    about = pod["metadata"]
    if about.get("deletionTimestamp") or any(one["kind"] == "Job" for one in about.get("ownerReferences") or []):
        return ""
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return ENDED if (now - ended(pod)).total_seconds() > limits["ended"] else ""
    age = (now - parsed(about["creationTimestamp"])).total_seconds()
    component = (about.get("labels") or {}).get("component")
    if component == BUILD:
        return LONG if age > limits["build"] else ""
    if component != USER or known is None or age <= limits["orphan"]:
        return ""
    whose = server(pod)
    return ORPHAN if whose is not None and whose not in known else ""


def servers(users: list[dict[str, Any]]) -> set[Server]:
    """Of what the hub tells of its users."""
    return {(str(user["name"]), str(name)) for user in users for name in user.get("servers") or {}}


# --- what is asked and done ----------------------------------------------------------------------------------------


def kubectl(config: dict[str, Any], *words: str, text: str = "") -> str:
    argv = [*config["kubectl"], *words]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=2 * ANSWER)
    if done.returncode:
        raise Failure(f"kubectl {words[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


def listed(config: dict[str, Any]) -> list[dict[str, Any]]:
    ask = ("get", "pods", "-n", config["namespace"], "-o", "json", f"--request-timeout={ANSWER}s")
    found: list[dict[str, Any]] = json.loads(kubectl(config, *ask))["items"]
    return found


def known(config: dict[str, Any]) -> set[Server] | None:
    """The hub's servers, pending ones included; None where it does not tell them all."""
    ask = ("get", "service", "hub", "-n", config["namespace"], "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
    found: list[dict[str, Any]] = []
    offset: int | None = 0
    headers = {"Authorization": f"token {config['token']}", "Accept": "application/jupyterhub-pagination+json"}
    try:
        place = kubectl(config, *ask, "--ignore-not-found").strip()
        while offset is not None:
            url = f"http://{place}/hub/api/users?state=active&limit=100&offset={offset}"
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ANSWER) as answer:
                page = json.load(answer)
            found += page["items"]
            following = page["_pagination"]["next"]
            offset = int(following["offset"]) if following else None
    except (
        Failure,
        OSError,
        urllib.error.URLError,
        http.client.HTTPException,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        print(f"the hub does not tell its servers: {error}", file=sys.stderr)
        return None
    return servers(found)


def remove(config: dict[str, Any], pod: dict[str, Any]) -> None:
    """This one, and not another that has its name by now. One that is gone already is as good."""
    path = f"/api/v1/namespaces/{config['namespace']}/pods/{pod['metadata']['name']}"
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": pod["metadata"]["uid"]}}
    try:
        kubectl(config, "delete", "--raw", path, "-f", "-", text=json.dumps(options))
    except Failure as error:
        print(f"{pod['metadata']['name']}: {error}", file=sys.stderr)


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    now = datetime.now(timezone.utc)  # noqa: UP017
    try:
        pods = listed(config)
        # After the pods: what the hub has begun since is none of them.
        users = any((pod["metadata"].get("labels") or {}).get("component") == USER for pod in pods)
        hub = known(config) if users else set()
        going = [(pod, said) for pod in pods if (said := why(pod, config["limits"], hub, now))]
        for pod, _ in going:
            remove(config, pod)
        left = {pod["metadata"]["uid"] for pod in listed(config) if not pod["metadata"].get("deletionTimestamp")}
        stuck = [pod["metadata"]["name"] for pod, _ in going if pod["metadata"]["uid"] in left]
    except (Failure, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        print(f"no pod is removed: {error}", file=sys.stderr)
        return 1
    if stuck:
        print(f"{len(stuck)} pods could not be removed: {', '.join(stuck[:3])}", file=sys.stderr)
        return 1
    count = ", ".join(f"{number} that {said}" for said, number in sorted(Counter(said for _, said in going).items()))
    print(f"{len(pods)} pods, removed: {count or 'none'}{'; the hub was not asked' if hub is None else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
