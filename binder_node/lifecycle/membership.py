"""A node as a member of a federation: what its ramp, its drain and its followings of the prime need, put together."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from binder_node.binder.client import Binder
from binder_node.cluster.tls import trust
from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.events import Event, Reporter
from binder_node.federation import ask, looking, tokens
from binder_node.federation.book import Checkout
from binder_node.federation.config import Federation
from binder_node.federation.gate import Limits
from binder_node.federation.measured import Sample
from binder_node.federation.ramp import Pace, Ramp, Ways
from binder_node.federation.steps import Target, target
from binder_node.lifecycle.opened import Opened, access_of, open_bare
from binder_node.lifecycle.verbs import url_of
from binder_node.node import Access, Node
from binder_node.secrets.masked import Masked

# A deploy of a federation's chart takes minutes.
DEPLOY_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Reached:
    """A node that answers: ``address`` is its public one, ``binder`` asks its BinderHub there by its public name."""

    node: Node
    access: Access
    address: str
    binder: Binder

    @property
    def way(self) -> ask.Way:
        """How the checks of members reach this one before DNS does."""
        host = urlsplit(self.binder.base_url).hostname or ""
        return ask.Way({host: self.address}, self.binder.trust)

    @property
    def secret(self) -> Masked | None:
        """What it should sign and take build tokens with."""
        return self.node.secrets.build_token_secret

    def look(self) -> Sample:
        """Its numbers now."""
        return looking.by_node(self.binder, self.access, self.node.spec.machine.state)


@dataclass(frozen=True, slots=True)
class Public:
    """A member of which only its BinderHub's address is known: :class:`Reached` without the machine."""

    binder: Binder
    way: ask.Way = field(default_factory=ask.Way)
    secret: Masked | None = None

    def look(self) -> Sample:
        """Its numbers now, but for the disk; of several replicas, one's."""
        return looking.by_http(self.binder)


@contextmanager
def reached(opened: Opened) -> Iterator[Reached]:
    """The node behind ``opened``, for the block.

    Raises:
        StepError: it was never made from here, or does not answer.
    """
    node = open_bare(opened)
    access, address = access_of(opened)
    with Binder(url_of(node), address, trust=trust(opened.spec)) as binder:
        yield Reached(node, access, address, binder)


@contextmanager
def seen(opened: Opened, url: str) -> Iterator[Reached | Public]:
    """The node behind ``opened``, or with ``url`` the BinderHub there. Raises StepError as :func:`reached`."""
    if not url:
        with reached(opened) as member:
            yield member
        return
    with Binder(url) as binder:
        yield Public(binder)


def member_of(opened: Opened) -> str:
    """The node's name in the federation. Raises InputError where the inventory has none."""
    name = opened.spec.federation.member
    if not name:
        right = "write the name that the federation's config has: bids-ovh"
        raise InputError(Problem(str(opened.inventory), 0, "federation.member", "is not set", right))
    return name


def limits_of(opened: Opened, federation: Federation, *, failed: float, ready: float, launches: int) -> Limits:
    """What a step has to keep on this node: ``failed`` is a share, ``ready`` seconds."""
    spec = opened.spec
    return Limits(
        failed=failed,
        ready=ready,
        launches=launches,
        disk=spec.kubernetes.image_gc_high,
        evict=100 - spec.kubernetes.evict_below,
        build_limit=spec.binderhub.build_limit,
        headroom=federation.rules.headroom,
    )


def target_of(opened: Opened, federation: Federation, wanted: int, report: Reporter) -> Target:
    """Where the node's ramp ends: ``wanted``, or the inventory's, or the others' median, as far as the quota goes."""
    name = member_of(opened)
    federation.member(name)
    found = ask.check(_once(federation), [one.name for one in federation.routed if one.name != name])
    for checked in (one for one in found if one.pods is None):
        report(Event("warn", "ramp", f"{checked.member.name} does not tell its pods: its traffic is not reckoned with"))
    pods = [checked.pods[0] for checked in found if checked.pods is not None]
    wanted = wanted or opened.spec.federation.weight
    return target(wanted, federation, name, opened.spec.binderhub.quota, pods, federation.rules.headroom)


def hindrances(member: Reached | Public, federation: Federation, name: str) -> tuple[str, ...]:
    """Why the member should not get its first weight: sentences, none when it may."""
    [checked] = ask.check(_once(federation), [name], way=member.way)
    found = [f"{name} would be out: {reason}" for reason in checked.verdict.reasons]
    if federation.prime.name != name:
        with Binder(federation.prime.url) as prime:
            token = tokens.check(prime, member.binder, member.secret)
        if not token.ok:
            found.append(f"{token.why} -> {token.remedy}")
    return tuple(found)


def _once(federation: Federation) -> Federation:
    """Its members asked once each, and not again and again."""
    return replace(federation, rules=replace(federation.rules, retries=1))


def ramp_of(
    opened: Opened,
    member: Reached | Public,
    book: Checkout,
    goal: int,
    limits: Limits,
    pace: Pace,
    report: Reporter,
    *,
    deploy: str = "",
    redirector: str = "",
) -> Ramp:
    """The node's ramp. ``deploy`` is a command for the checkout's change, ``redirector`` the URL of a running one."""
    name = book.member
    ways = Ways(
        look=member.look,
        ready=lambda: hindrances(member, book.federation(), name),
        deploy=deployer(book, opened.spec.name, deploy, report) if deploy else None,
        in_force=(lambda: looking.weight_in_force(redirector, name)) if redirector else None,
    )
    return Ramp(book, name, goal, limits, pace, ways, report)


def deployer(book: Checkout, node: str, command: str, report: Reporter) -> Callable[[int], None]:
    """Runs ``command`` (no shell) in the checkout after a change, with ``FEDERATION_MEMBER`` and
    ``FEDERATION_WEIGHT`` in its environment; StepError where it fails, DeadlineError where it has no end.

    Raises:
        InputError: ``command`` is none.
    """
    words = _words(command)

    def deploy(weight: int) -> None:
        report(Event("start", "ramp", f"deploy: {words[0]}"))
        own = {**os.environ, "FEDERATION_MEMBER": book.member, "FEDERATION_WEIGHT": str(weight)}
        folder = book.path if book.path.is_dir() else book.path.parent
        _run(node, words, folder, own)

    return deploy


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:  # a quote without its end
        raise InputError(Problem("", 0, "--deploy", f"{command!r}: {error}", "write it as for a shell")) from None
    if not words:
        raise InputError(Problem("", 0, "--deploy", f"{command!r} is no command", "name a program: ./deploy.sh"))
    return words


def _run(node: str, words: list[str], folder: Path, environment: dict[str, str]) -> None:
    what = f"deploy the checkout by {words[0]}"
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEPLOY_SECONDS,
            check=False,
        )
    except OSError as error:
        raise StepError(node, what, str(error), "the change is in the checkout") from None
    except subprocess.TimeoutExpired:
        raise DeadlineError(node, what, DEPLOY_SECONDS, remedy="the change is in the checkout") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-1000:]
        raise StepError(node, what, last or f"exit code {done.returncode}", "the change is in the checkout")
