"""A look at a member: BinderHub's ``/metrics`` and ``/health``, and its node's disk where the node is ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath

from binder_node import remote
from binder_node.binder.client import Binder, told
from binder_node.cluster.kube import sudo
from binder_node.errors import StepError
from binder_node.federation.measured import Counters, Disk, Sample, counters, health
from binder_node.node import Access

LOOK_SECONDS = 30.0
# BinderHub's own port in its pod (its chart's Service).
PORT = 8585
# Before each part of what the node says.
MARK = "@@ "
# Each replica counts for itself, so each is asked, through the API server, in whichever namespace it is deployed; then
# disks and the node's complaint.
_SCRIPT = f"""\
kubectl="{{sudo}}k3s kubectl"
pods=$($kubectl get pods -A -l component=binder --field-selector=status.phase=Running \
-o jsonpath='{{{{range .items[*]}}}}{{{{.metadata.namespace}}}}/pods/{{{{.metadata.name}}}} {{{{end}}}}') || exit 1
for pod in $pods; do
    echo "{MARK}metrics $pod"
    $kubectl get --raw "/api/v1/namespaces/$pod:{PORT}/proxy/metrics" || echo "{MARK}silent $pod"
done
echo "{MARK}disk"
df -P -B1 / {{state}}
echo "{MARK}pressure"
$kubectl get nodes -o jsonpath='{{{{.items[*].status.conditions[?(@.type=="DiskPressure")].status}}}}'
"""


def by_http(binder: Binder) -> Sample:
    """A look by BinderHub's public address alone: of several replicas one answers, and the disk is not seen."""
    return _look(binder, lambda: ((_asked(binder),), None))


def by_node(binder: Binder, access: Access, state: PurePath) -> Sample:
    """A look at a node of ours, in one ssh round trip besides ``/health``. ``state`` is its folder for state."""
    return _look(binder, lambda: _on_node(access, state))


def _look(binder: Binder, look: Callable[[], tuple[tuple[Counters, ...], Disk | None]]) -> Sample:
    """What is wrong with a look is part of it: a member that does not answer is a reason to step back."""
    seen = Sample(time.time())
    try:
        told_health = health(binder.health())
        seen = replace(seen, health=told_health)
        found, disk = look()
        return replace(seen, counters=found, disk=disk)
    except StepError as error:
        return replace(seen, error=error.reason)
    except ValueError as error:
        return replace(seen, error=str(error))


def _asked(binder: Binder) -> Counters:
    answer = binder.request("GET", f"{binder.base_url}/metrics", "ask BinderHub for its metrics")
    if answer.status_code != 200:
        right = "let this computer in, or run it where the node is reached by ssh"
        raise StepError(binder.name, "ask BinderHub for its metrics", told(answer), right)
    return counters(answer.text)


def _on_node(access: Access, state: PurePath) -> tuple[tuple[Counters, ...], Disk | None]:
    done = remote.run(access, _SCRIPT.format(sudo=sudo(access), state=state), timeout=LOOK_SECONDS, check=False)
    parts = list(_parts(done.stdout))
    metrics = "metrics "
    found = tuple(counters(text, name.removeprefix(metrics)) for name, text in parts if name.startswith(metrics))
    if not found:
        raise StepError(access.name, "look at BinderHub's pods", done.stderr or "none is running")
    texts = dict(parts)
    return found, disk(texts.get("disk", ""), "True" in texts.get("pressure", ""))


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """What stands after each mark, by the mark's words; a pod that broke off in its answer is left out."""
    parts = [part.partition("\n") for part in f"\n{text}".split(f"\n{MARK}")[1:]]
    silent = {name.removeprefix("silent ") for name, _, _ in parts if name.startswith("silent ")}
    for name, _, body in parts:
        if not name.startswith("silent ") and name.removeprefix("metrics ") not in silent:
            yield name, body


def disk(text: str, pressure: bool) -> Disk | None:
    """The fullest filesystem of ``df -P``; None where there is none in ``text``.

    Use is what ``df`` calls it: of what is used or may be, root's reserve left out, as the kubelet does too.
    """
    found = []
    for row in text.splitlines():
        words = row.split()
        if len(words) >= 6 and words[4].endswith("%") and words[4][:-1].isdigit():
            found.append(Disk(words[5], float(words[4][:-1]), pressure))
    return max(found, key=lambda one: one.used, default=None)


def weight_in_force(redirector: str, member: str) -> float | None:
    """The weight that a running redirector routes to ``member`` by; None where it is not in its rotation.

    Raises:
        StepError, DeadlineError: nobody answers there, or it is no redirector.
    """
    what = "ask the redirector for its members"
    with Binder(redirector) as asked:
        answer = asked.request("GET", f"{asked.base_url}/active_hosts", what)
        try:
            host = answer.json()["active_hosts"].get(member)
            return None if host is None else float(host["weight"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StepError(asked.name, what, told(answer), "is this the redirector's own address?") from None
