"""Waiting until the node's Traefik has the certificates that it orders, and why it has not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence

from binder_node import remote
from binder_node.cluster import served
from binder_node.cluster.kube import sudo
from binder_node.cluster.served import Served
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.node import Access
from binder_node.spec.model import Spec
from binder_node.words import plain

STAGE = "release"
# Two orders, each with a challenge that the authority looks at from several places; Let's Encrypt takes seconds.
SECONDS = 240.0
POLL_SECONDS = 1.0
KUBECTL_SECONDS = 60.0
TRAEFIK = "-n kube-system deployment/traefik"
LOG = f"k3s kubectl logs {TRAEFIK} --since=15m --tail=400"
# Traefik asks once for each name that it hears of; after a refusal it does not by itself for a day.
AGAIN = f"k3s kubectl rollout restart {TRAEFIK}"


def wait(spec: Spec, access: Access, address: str, trust: ssl.SSLContext, report: Reporter, *, again: bool) -> None:
    """Wait until each name shows a certificate that ``trust`` takes. ``again``: it was ordered before, and not had.

    Raises:
        StepError: Traefik could not be told to order again.
        DeadlineError: a name has none yet; with what the authority said last.
    """
    with step(report, STAGE, f"certificates from {spec.tls.directory if spec.tls.mode == 'acme' else 'files'}") as told:
        if again:
            _again(access, report)
        deadline, last = time.monotonic() + SECONDS, ""
        while left := missing(served.look(spec, address, trust)):
            said = "; ".join(item.trouble for item in left)
            if said != last:
                report(Event("progress", STAGE, said))
                last = said
            if time.monotonic() > deadline:
                reason = "\n".join([said, *complaints(_log(access))])
                remedy = "do the names lead to the node, and is port 80 open to the world? then run the same command"
                raise DeadlineError(spec.name, f"certificates for {_names(left)}", SECONDS, reason, remedy)
            time.sleep(POLL_SECONDS)
        told["names"] = list(served.names(spec))


def missing(found: Iterable[Served]) -> list[Served]:
    """Those that nobody would trust. Pure."""
    return [item for item in found if item.trouble]


def complaints(log: str, most: int = 3) -> Sequence[str]:
    """The last lines of Traefik's log that are errors about certificates, for the operator's eyes. Pure."""
    lines = [line.strip() for line in plain(log).splitlines() if "acme" in line.lower() and " ERR " in line]
    return [f"  | {line[:600]}" for line in lines[-most:]]


def _again(access: Access, report: Reporter) -> None:
    report(Event("progress", STAGE, "Traefik is started anew, to order what it has not got"))
    done = remote.run(access, f"{sudo(access)}{AGAIN}", timeout=KUBECTL_SECONDS, check=False)
    if done.code != 0:
        raise StepError(access.name, "start Traefik anew", done.stderr, "see `binder-node logs` for k3s")


def _log(access: Access) -> str:
    return remote.run(access, f"{sudo(access)}{LOG}", timeout=KUBECTL_SECONDS, check=False).stdout


def _names(left: Sequence[Served]) -> str:
    return " and ".join(item.name for item in left)
