"""The certificates of one node on its way to the next, so that the next one shows them before names lead to it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime

from binder_node import remote
from binder_node.cluster import acme, served
from binder_node.cluster.acmestore import Store, carried, covers, parsed, text_of
from binder_node.cluster.ingress import STORE
from binder_node.cluster.kube import sudo
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter, step
from binder_node.host.upload import as_root
from binder_node.layout import ACME_STATE, TRAEFIK_UID
from binder_node.node import Access
from binder_node.spec.model import Spec
from binder_node.spec.public import AcmeTls

STAGE = "release"
# Traefik starts in seconds; on a new machine its image may still be on its way into the store.
TRAEFIK_SECONDS = 120.0
# Traefik writes the whole file from its memory when it gets a certificate: what was put there just before is lost.
TRIES = 3
# Until Traefik has read what was put there.
MARK = ".carried"
LOOK = f"set -e; cd {{folder}}; if [ -e {MARK} ]; then echo marked; else echo; fi; cat {STORE} 2> /dev/null || true"
PUT = (
    f"set -e; umask 077; cd {{folder}}; : > {MARK}; cat > .{STORE}.part; "
    f"chown {TRAEFIK_UID}:{TRAEFIK_UID} .{STORE}.part; mv -f .{STORE}.part {STORE}"
)
FORGET = f"rm -f {{folder}}/{MARK}"
THERE = "k3s kubectl get -n kube-system deployment/traefik --ignore-not-found -o name"
READY = f"k3s kubectl rollout status {acme.TRAEFIK} --timeout={TRAEFIK_SECONDS:.0f}s"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two nodes."""

    spec: Spec
    access: Access

    def script(self, text: str) -> str:
        """``text`` with the folder of the node's certificates, as a command that root runs."""
        folder = shlex.quote(str(self.spec.machine.state / ACME_STATE))
        return as_root(self.access, text.format(folder=folder))


def carry_certificates(old: Side, new: Side, report: Reporter) -> tuple[str, ...]:
    """Give ``new`` the certificates of ``old`` for the names that both serve, and Traefik's account where it has none.

    ``new`` needs its host stage and no more: without a Traefik yet the file is there when that starts; one that runs is
    started anew. Called again it changes nothing; killed anywhere, the same call goes on. Returns the names of ``new``
    for which its Traefik has a certificate that holds.

    Raises:
        InputError: the two order from different authorities.
        StepError, DeadlineError: one of them is not reached, or its Traefik does not come back.
    """
    if not isinstance(old.spec.tls, AcmeTls) or not isinstance(new.spec.tls, AcmeTls):
        return ()
    if old.spec.tls.directory != new.spec.tls.directory:
        wrong = f"{new.spec.tls.directory} is not where {old.spec.name} orders, {old.spec.tls.directory}"
        raise InputError(Problem(f"{new.spec.name}.yaml", 0, "tls.directory", wrong, "write the same"))
    wanted = served.names(new.spec)
    with step(report, STAGE, f"carry certificates from {old.spec.name}") as told:
        have, _ = _look(old)
        for _ in range(TRIES):
            there, marked = _look(new)
            better = carried(have, there, wanted, datetime.now(UTC))
            if better == there and not marked:
                break
            if better != there:
                _do(new, "put the certificates", PUT, text_of(better))
            _read_anew(new)
            _do(new, "put the certificates", FORGET)
        else:
            reason = "its Traefik wrote over them each time"
            raise StepError(new.spec.name, "carry certificates", reason, "run the same command again")
        names = tuple(name for name in wanted if covers(there, name, datetime.now(UTC)))
        told["names"] = list(names)
    return names


def _look(side: Side) -> tuple[Store, bool]:
    """What is in the node's store, and whether Traefik may not have read it yet."""
    done = _do(side, "read the certificates", LOOK)
    mark, _, text = done.partition("\n")
    try:
        return parsed(text), mark == "marked"
    except ValueError as error:
        raise StepError(
            side.spec.name, f"read {ACME_STATE}/{STORE}", str(error), "move it away: it is made anew"
        ) from None


def _read_anew(side: Side) -> None:
    """Start Traefik anew, where there is one."""
    command = sudo(side.access)
    if not _ran(side, "look for Traefik", f"{command}{THERE}").strip():
        return
    _ran(side, "start Traefik anew", f"{command}{acme.AGAIN}")
    _ran(side, "wait for Traefik", f"{command}{READY}")


def _do(side: Side, what: str, script: str, given: str | None = None) -> str:
    return _ran(side, what, side.script(script), given)


def _ran(side: Side, what: str, command: str, given: str | None = None) -> str:
    done = remote.run(side.access, command, timeout=TRAEFIK_SECONDS + acme.KUBECTL_SECONDS, input=given, check=False)
    if done.code != 0:
        reason = done.stderr or f"exit code {done.code}"
        raise StepError(side.spec.name, what, reason, f"`binder-node up {side.spec.name}`, then the same command again")
    return done.stdout


__all__ = ["Side", "carry_certificates"]
