"""What checks are handed: the node as its inventory says it, and ways to look at it as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from binder_node.binder.client import Binder
from binder_node.errors import StepError
from binder_node.lifecycle.opened import Opened, access_of, open_bare
from binder_node.lifecycle.versions import reported
from binder_node.node import Access, Node
from binder_node.smoke.backend import host_of
from binder_node.smoke.plugin import suite
from binder_node.smoke.trial import Trial
from binder_node.spec.model import Spec
from binder_node.upgrades.reported import Reported


@pytest.fixture(scope="session")
def opened(pytestconfig: pytest.Config) -> Opened:
    """What the operator wrote: inventory, Spec, pins."""
    return suite(pytestconfig).opened


@pytest.fixture(scope="session")
def spec(opened: Opened) -> Spec:
    return opened.spec


@pytest.fixture(scope="session")
def node(opened: Opened) -> Node:
    """With its secrets, without artifacts."""
    return open_bare(opened)


@pytest.fixture(scope="session")
def reached(opened: Opened) -> tuple[Access, str]:
    """How to reach the machine, and its public address; ``machine.ssh`` is the check that fails with it."""
    return access_of(opened)


@pytest.fixture(scope="session")
def access(reached: tuple[Access, str]) -> Access:
    return reached[0]


@pytest.fixture(scope="session")
def address(reached: tuple[Access, str]) -> str:
    return reached[1]


@pytest.fixture(scope="session")
def host(access: Access) -> Any:
    """testinfra's Host: ``host.run("...", timeout=120)``, ``host.file(...)``, ``host.service(...)``, as root."""
    return host_of(access)


@pytest.fixture(scope="session")
def kubectl(host: Any, node: Node) -> Callable[[str], Any]:
    """The node's own kubectl, its answer parsed: ``kubectl("get nodes")``. Raises StepError where it refuses."""

    def asked(command: str) -> Any:
        done = host.run(f"k3s kubectl {command}{'' if '--raw' in command else ' -o json'}")
        if done.failed:
            name = node.spec.name
            raise StepError(name, f"kubectl {command}", done.stderr, f"see `binder-node logs {name} k3s`")
        return json.loads(done.stdout)

    return asked


@pytest.fixture(scope="session")
def running(access: Access, spec: Spec) -> Reported:
    """The version that each component says of itself."""
    return reported(access, spec)


@pytest.fixture(scope="session")
def binder(node: Node, address: str) -> Iterator[Binder]:
    """The node's BinderHub, at its own address under its public name."""
    from binder_node.cluster.tls import trust
    from binder_node.lifecycle.verbs import url_of

    with Binder(url_of(node), connect_to=address, trust=trust(node.spec)) as found:
        yield found


@pytest.fixture(scope="session")
def trial(
    pytestconfig: pytest.Config,
    node: Node,
    access: Access,
    address: str,
    host: Any,
    kubectl: Callable[[str], Any],
    binder: Binder,
) -> Iterator[Trial]:
    """The one launch that the deep checks share; all that it made is gone afterwards."""
    repository: str = pytestconfig.option.repository
    push_to: str = pytestconfig.option.push_to or repository
    made = Trial(node, access, address, host, kubectl, binder, repository, push_to)
    yield made
    made.clean()
