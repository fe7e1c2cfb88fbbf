"""``load``: simulated users against nodes of the operator's own, alone or behind their redirector."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from binder_node import __version__, remote
from binder_node.binder.client import AnswerError, Binder
from binder_node.cluster.tls import trust
from binder_node.errors import InputError, Problem
from binder_node.lifecycle.opened import Opened, access_of
from binder_node.load.arrivals import Arrival
from binder_node.load.machine import Watched, watching
from binder_node.load.result import Machine, Result, Sample
from binder_node.load.run import Limits, Moment, ignored, run
from binder_node.load.user import Patience, Target
from binder_node.node import Access
from binder_node.spec.model import Spec

LOGIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Own:
    """A node of the operator's own: its secrets are here, and its machine let us in by the host key that we know."""

    spec: Spec
    access: Access
    address: str

    @property
    def url(self) -> str:
        return self.spec.url(self.spec.names.binder)

    @property
    def machine(self) -> Machine:
        """Its limits, as the inventory has them."""
        spec = self.spec
        return Machine(
            name=spec.name,
            quota=spec.binderhub.quota,
            max_pods=spec.kubernetes.max_pods,
            builds=spec.binderhub.build_limit,
            guarantee=int(spec.binderhub.session.memory_guarantee),
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a load is of, besides its users. ``settings`` are the options, for the document."""

    limits: Limits
    patience: Patience = field(default_factory=Patience)
    settings: dict[str, Any] = field(default_factory=dict)


def own(opened: Opened) -> Own:
    """The node behind ``opened``, proven to be ours: nobody else's machine is put under load by mistake.

    Raises:
        StepError, DeadlineError: it was never made from here, or its machine does not let us in.
    """
    access, address = access_of(opened)
    remote.run(access, "true", timeout=LOGIN_SECONDS)
    return Own(opened.spec, access, address)


def node_target(node: Own) -> Target:
    """The node's BinderHub, at its machine's own address under its public names."""
    names = (node.spec.names.binder, node.spec.names.hub)
    return Target(node.spec.name, node.url, dict.fromkeys(names, node.address), trust(node.spec))


def named_target(nodes: Sequence[Own]) -> Target:
    """The BinderHub of ``nodes``, generations of one name, wherever DNS leads at each request.

    Raises:
        InputError: they have several names, or their name does not lead to one of them.
    """
    urls = sorted({node.url for node in nodes})
    if len(urls) > 1:
        wrong, right = f"{' and '.join(urls)} are not one name", "say the --redirector that they are behind"
        raise InputError(Problem("", 0, "NODE", wrong, right))
    host, ours = nodes[0].spec.names.binder, {node.address for node in nodes}
    found = _addresses(host)
    if not found or not found <= ours:
        wrong = f"{host} leads to {', '.join(sorted(found)) or 'no address'}"
        raise InputError(Problem("", 0, "--by-name", wrong, f"yours: {', '.join(sorted(ours))}"))
    return Target(host, urls[0], trust=trust(nodes[0].spec))


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def federation_target(redirector: str, nodes: Sequence[Own]) -> Target:
    """A federation by its redirector, all of whose members have to be ``nodes``. The redirector is where DNS says, the
    members are at their machines' own addresses.

    Raises:
        InputError: it sends people to a member that is none of them.
        StepError, DeadlineError: it does not answer, or is no redirector.
    """
    url = redirector.rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(
            Problem("", 0, "--redirector", f"{redirector!r} is no URL", "write https://binder.example.org")
        )
    ours = {node.url for node in nodes}
    foreign = sorted(set(_members(url).values()) - ours)
    if foreign:
        wrong = f"it sends people to {', '.join(foreign)}, which {'is' if len(foreign) == 1 else 'are'} none of yours"
        right = f"name every node behind it, by its inventory; named: {', '.join(sorted(ours)) or 'none'}"
        raise InputError(Problem("", 0, "--redirector", wrong, right))
    addresses = {name: node.address for node in nodes for name in (node.spec.names.binder, node.spec.names.hub)}
    context = trust(nodes[0].spec) if nodes else None
    return Target(urlsplit(url).netloc, url, addresses, context, redirector=True, members=frozenset(ours))


def _members(url: str) -> dict[str, str]:
    """URLs of the members in rotation, by their names."""
    what = "ask the redirector for its members"
    with Binder(url) as asked:
        answer = asked.request("GET", f"{asked.base_url}/active_hosts", what)
        try:
            hosts = answer.json()["active_hosts"]
            return {str(name): str(host["url"]).rstrip("/") for name, host in hosts.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AnswerError(asked.name, what, answer, "is this the redirector's own address?") from None


def unseen(name: str, sample: Sample, /) -> None:
    """Sees nothing."""
    del name, sample


def play(
    target: Target,
    nodes: Sequence[Own],
    arrivals: Sequence[Arrival],
    asked: Asked,
    *,
    heard: Callable[[Moment], None] = ignored,
    sampled: Callable[[str, Sample], None] = unseen,
    stop: threading.Event | None = None,
) -> Result:
    """Play ``arrivals`` against ``target`` while ``nodes`` are watched, and tell all of it.

    ``heard`` and ``sampled`` (a node's name and a look at it) are called from several threads.

    Raises:
        StepError, DeadlineError: BinderHub does not even tell its versions.
    """
    versions = _versions(target)
    started, began = datetime.now(UTC), time.monotonic()
    with contextlib.ExitStack() as stack:
        watched = [stack.enter_context(_watched(node, began, sampled)) for node in nodes]
        played = run(arrivals, [target], asked.limits, patience=asked.patience, heard=heard, stop=stop, began=began)
    return Result(
        tool=f"binder-node {__version__}",
        target=target.name,
        url=target.url,
        federation=target.redirector,
        started=started.isoformat(timespec="seconds"),
        seconds=played.seconds,
        arriving=played.arriving,
        stopped=played.stopped,
        settings=asked.settings,
        versions=versions,
        machines=tuple(one.machine for one in watched),
        visits=played.visits,
    )


def _versions(target: Target) -> dict[str, Any]:
    with target.binder(target.url) as binder:
        return binder.versions()


@contextlib.contextmanager
def _watched(node: Own, began: float, sampled: Callable[[str, Sample], None]) -> Iterator[Watched]:
    def told(sample: Sample) -> None:
        sampled(node.spec.name, sample)

    with watching(node.access, node.machine, str(node.spec.machine.state), began, told) as watched:
        yield watched
