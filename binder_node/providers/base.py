"""What a provider is to the other rooms. Adding one is one file that meets this protocol, and one example inventory."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from binder_node.changes import Change
from binder_node.events import Reporter
from binder_node.node import Access, Node


def access_to(node: Node, address: IPv4Address | str, identity: Path | None = None) -> Access:
    """How to reach a node's machine at ``address``; its files lie in ``node.runtime``.

    ``identity`` is a key file of the operator's own; none: the node's key, which
    :func:`binder_node.remote.write_access` writes.
    """
    return Access(
        name=node.spec.name,
        address=str(address),
        port=node.spec.ssh.port,
        user=node.spec.ssh.user,
        identity=identity or node.runtime / "login_key",
        known_hosts=node.runtime / "known_hosts",
        config=node.runtime / "ssh_config",
    )


class Provider(Protocol):
    """A machine's source; also the stage ``machine`` (:class:`binder_node.changes.Stage`), and its way back.

    What :meth:`inspect` returns is the provider's own; everything else is asked of it through the other methods.
    Memory of what belongs to a node lives with the provider itself (labels, a folder), never in a state file.
    """

    @property
    def name(self) -> str: ...

    def nothing(self) -> Any: ...

    def inspect(self, report: Reporter) -> Any: ...

    def changes(self, seen: Any) -> list[Change]: ...

    def apply(self, seen: Any, report: Reporter) -> None: ...

    def access(self, seen: Any) -> Access | None:
        """How to reach the machine, or None when there is none that answers."""
        ...

    def address(self, seen: Any) -> str:
        """The machine's public IPv4 address, also before it exists where that is known; empty while it is not."""
        ...

    def destroy(self, report: Reporter) -> None:
        """Take away everything that carries the node's name; twice, or from a half-made state, is no error.

        Raises:
            StepError, DeadlineError: something could not be removed; says what.
        """
        ...
