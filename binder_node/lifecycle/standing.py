"""Two generations of a node as they are now: their inventories, machines, sessions, and where the names lead."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binder_node import remote
from binder_node.cluster.kube import sudo
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import silent
from binder_node.federation import drain
from binder_node.federation.measured import health
from binder_node.layout import K3S_KUBECONFIG, NAMESPACE
from binder_node.lifecycle.draining import SESSIONS
from binder_node.lifecycle.generations import retired, successor_of
from binder_node.lifecycle.opened import Opened, open_spec, open_unseen
from binder_node.lifecycle.verbs import url_of
from binder_node.names import servers
from binder_node.names.base import zone_of
from binder_node.names.records import ANY, Found, covered, targets, wanted
from binder_node.names.servers import Answer
from binder_node.node import Access, Node
from binder_node.providers import provider_for
from binder_node.providers.base import KEEP
from binder_node.rotation.pair import alone, mirrored, together
from binder_node.rotation.steps import Facts, Holder, Side, Step
from binder_node.spec.load import find
from binder_node.spec.model import Spec, SshProvider
from binder_node.spec.public import NoDns, ZoneDns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binder_node.lifecycle.membership import Reached

LOOK_SECONDS = 60.0
HEALTH_TRIES = 3
# Before what the node says of its sessions.
MARK = "@@ sessions"
# A machine on which K3s never ran has no sessions. Where it does not answer, the kubelet's folder for each pod tells
# whether there can be some.
SCRIPT = f"""\
[ -e {K3S_KUBECONFIG} ] || exit 0
{{sudo}}k3s kubectl get deployment -n {NAMESPACE} binder --ignore-not-found --request-timeout=20s \
-o jsonpath='{{{{.metadata.name}}}} {{{{.status.availableReplicas}}}}' \
&& echo && echo "{MARK}" && {{sudo}}{SESSIONS} && exit 0
{{sudo}}find /var/log/pods -maxdepth 1 -name '{NAMESPACE}_jupyter-*' >&2
exit {{silent}}
"""
# Its exit code where K3s does not answer; none of kubectl's own.
SILENT = 70


@dataclass(frozen=True)
class View:
    """One node: opened, its machine looked at. ``access`` is None where none answers, ``address`` empty where none is
    known. ``release`` is what is deployed: whether it is there, and whether it is up. ``silent``: K3s does not answer.
    """

    opened: Opened
    node: Node
    access: Access | None
    address: str
    machine: bool
    release: tuple[bool, bool] = (False, False)
    sessions: int = 0
    running: int | None = None
    silent: bool = False

    @property
    def spec(self) -> Spec:
        return self.opened.spec

    @property
    def name(self) -> str:
        return self.spec.name

    def reached(self) -> Access:
        """Raises StepError where nobody answers."""
        if self.access is None:
            raise StepError(self.name, "reach the machine", "it does not answer ssh", "look at its console")
        return self.access

    @contextmanager
    def member(self) -> Iterator[Reached]:
        """The node's BinderHub at its own address, whoever has the names. Raises StepError."""
        from binder_node.binder.client import Binder
        from binder_node.cluster.tls import trust
        from binder_node.lifecycle.membership import Reached

        with Binder(url_of(self.node), self.address, trust=trust(self.spec)) as binder:
            yield Reached(self.node, self.reached(), self.address, binder)


@dataclass(frozen=True, slots=True)
class Both:
    """What was seen: ``old`` or ``new`` is None where its inventory is not there."""

    old: View | None
    new: View | None
    facts: Facts


@dataclass(frozen=True)
class Pair:
    """The inventories of two generations, where they are or would be. ``overlay`` are the operator's pins."""

    old: Path
    new: Path
    overlay: Path | None = None

    @cached_property
    def over(self) -> bool:
        """The old inventory is retired, and nobody replaces it any more."""
        return not self.old.exists() and retired(self.old).exists() and not successor_of(self.old)

    def open_old(self) -> Opened | None:
        return open_spec(str(self.old), self.overlay) if self.old.exists() else None

    def open_new(self) -> Opened | None:
        """None too for an inventory that replaces nothing: it is no new generation any more, or never was."""
        return open_spec(str(self.new), self.overlay) if self.new.exists() else None

    def check(self) -> None:
        """Raises InputError with all that keeps the two from being generations of one node."""
        old, new = self.open_old(), self.open_new()
        problems = list(alone(old.spec, str(self.old))) if old else []
        if old and new:
            problems += together(old.spec, new.spec, str(self.new))
        if problems:
            raise InputError(*problems)


def pair_of(name_or_path: str, to: str, overlay: Path | None, next_name: Callable[[str], str]) -> Pair:
    """The node ``name_or_path`` and the one that takes its place: the one whose inventory says so, or ``to``, or the
    next name.

    Raises:
        InputError: there is no such inventory, not even a retired one, or another one replaces it than ``to``.
    """
    old = Path("inventories") / f"{name_or_path}.yaml"
    if not (retired(old).exists() and not old.exists()):
        old = Path(name_or_path)
        if not (old.suffix and (retired(old).exists() or successor_of(old))):
            old = find(name_or_path)
    known = successor_of(old)
    if known and to not in ("", known):
        wrong = f"{known} takes the place of {old.stem} already"
        raise InputError(Problem("", 0, "--to", wrong, "leave it out, or `rotate --abort` first"))
    return Pair(old, old.with_name(f"{known or to or next_name(old.stem)}{old.suffix}"), overlay)


def look(pair: Pair, done: Collection[Step] = frozenset(), *, now: bool = False) -> Both:
    """Both nodes and the names, side by side; changes nothing.

    Raises:
        InputError: an inventory is wrong, or the zone's token is missing.
        StepError, DeadlineError: a provider, the zone or a node that answers refused to tell.
    """
    opened = (pair.open_old(), pair.open_new())
    with ThreadPoolExecutor(max_workers=2) as pool:
        old, new = pool.map(lambda one: _view(one, done, old=one is opened[0]) if one else None, opened)
    zone = _records(old, new)
    facts = Facts(
        old=_side(old, pair.old, zone, available=False),
        new=_side(new, pair.new, zone, available=True),
        names=_holder(old, new, zone),
        replaces=bool(new and new.spec.replaces),
        mirrored=bool(old and new and mirrored(old.spec, new.spec)),
        done=frozenset(done),
        now=now,
    )
    return Both(old, new, facts)


def _view(opened: Opened, done: Collection[Step], *, old: bool) -> View:
    node = open_unseen(opened)
    provider = provider_for(node)
    seen: Any = provider.inspect(silent)
    access = provider.access(seen)
    if isinstance(opened.spec.provider, SshProvider):
        machine = Step.DESTROY not in done  # it stays where it is; what is ours on it is the operator's to give back
    else:
        machine = bool(provider.doomed(silent, KEEP))
    found = View(opened, node, access, provider.address(seen), machine)
    return _asked(found, access, old=old) if access is not None else found


def _asked(view: View, access: Access, *, old: bool) -> View:
    done = remote.run(access, SCRIPT.format(sudo=sudo(access), silent=SILENT), timeout=LOOK_SECONDS, check=False)
    head, found, pods = done.stdout.partition(f"{MARK}\n")
    if done.code == SILENT:
        # On a new machine K3s may not have started yet.
        return replace(view, silent=old or f"/{NAMESPACE}_jupyter-" in done.stderr)
    if done.code:
        raise StepError(view.name, "count the sessions", done.stderr, "the same command goes on")
    words = head.split()
    sessions = len(drain.sessions(json.loads(pods), datetime.now(UTC))) if found else 0
    seen = replace(view, release=(bool(words), len(words) > 1), sessions=sessions)
    return replace(seen, running=_running(seen)) if seen.release[1] else seen


def _running(view: View) -> int | None:
    """The quota that BinderHub tells; None where it does not answer just now."""
    with view.member() as member:
        for _ in range(HEALTH_TRIES):
            try:
                return health(member.binder.health()).quota
            except (StepError, ValueError):
                continue
    return None


def _side(view: View | None, path: Path, zone: list[Found] | None, *, available: bool) -> Side:
    """``available``: only a release that is up serves; else one that is deployed does, up or not just now."""
    if view is None:
        return Side(path.stem, inventory=False)
    return Side(
        name=view.name,
        machine=view.machine,
        answers=view.access is not None,
        serving=view.release[1 if available else 0],
        quota=view.spec.binderhub.quota,
        running=view.running,
        sessions=view.sessions,
        silent=view.silent,
        named=zone is None or any(one.record.name == view.spec.names.hub for one in zone),
    )


def _records(old: View | None, new: View | None) -> list[Found] | None:
    """What the zone has of both nodes; None where it can only be asked by everybody's way."""
    asking = new or old
    zone = zone_of(asking.node) if asking else None
    if zone is None:
        return None
    specs = [view.spec for view in (old, new) if view is not None]
    names = [name for spec in specs for name in (*(record.name for record in wanted(spec, "")), *covered(spec))]
    return zone.read(dict.fromkeys(names))


def _holder(old: View | None, new: View | None, zone: list[Found] | None) -> Holder:
    """Where the zone and all its servers lead the member's names."""
    asking = new or old
    if asking is None or isinstance(asking.spec.dns, NoDns):
        return "nobody"
    spec = asking.spec
    said = frozenset(address for one in _answers(spec) for address in one.addresses or ("",))
    if zone is not None:
        written = targets(spec, zone)
        if new and new.address and written == {new.address} and said != written:
            return "between"  # a server of the zone is late
        said = written
    for which, view in (("old", old), ("new", new)):
        if view is not None and view.address and said == {view.address}:
            return "old" if which == "old" else "new"
    return "nobody" if said <= {""} else "between"


def _answers(spec: Spec) -> list[Answer]:
    if isinstance(spec.dns, NoDns):
        return []
    zone = spec.dns.zone if isinstance(spec.dns, ZoneDns) else ""
    there, trouble = servers.servers(spec.dns.nameservers, zone, spec.names.binder)
    return [*trouble, *servers.ask_all(there, [spec.names.binder, f"{ANY}.{spec.names.binder}"])]


__all__ = ["Both", "Pair", "View", "look", "pair_of"]
