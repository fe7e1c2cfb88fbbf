"""What a provider is to the other rooms. Adding one is one file that meets this protocol, and one example inventory."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, Protocol

from binder_node.changes import Change
from binder_node.events import Reporter
from binder_node.node import Access, Node
from binder_node.providers.offers import Offer, Tariff

# What outlives a machine unless the operator says otherwise: its public address, and the volume with its state.
Kept = Literal["address", "volume"]
KEEP: frozenset[Kept] = frozenset({"address", "volume"})
NOTHING: frozenset[Kept] = frozenset()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A thing in the operator's account that carries binder-node's labels and is no part of a node any more.

    ``kind`` as the provider calls it (``server``, ``volume``), ``node`` the name in its label, ``note`` what an
    operator should know besides (``protected``, ``12.30 EUR a month``).
    """

    kind: str
    name: str
    id: str
    node: str
    note: str = ""


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

    def offers(self, report: Reporter) -> list[Offer]:
        """The machines to be had, at live prices; where there is no API, the node's own as its inventory states it."""
        ...

    def own_offer(self, report: Reporter) -> Offer | None:
        """The offer that the node's machine is, or that :meth:`apply` would take first; None: no price is known.

        Logs in nowhere.
        """
        ...

    def tariff(self, report: Reporter) -> Tariff:
        """Unit prices beside the machine's, where it stands or would stand; what the inventory's ``cost`` says wins
        (:func:`binder_node.providers.offers.stated_tariff`).
        """
        ...

    def doomed(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> list[Change]:
        """What :meth:`destroy` would take away, in its order; changes nothing. Nothing there: an empty list.

        Raises:
            StepError: the machine is not this provider's to take away, or a protection forbids it.
        """
        ...

    def destroy(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> None:
        """Take away everything that carries the node's name, but for ``keep``.

        Twice, or from a half-made state, is no error; killed half-way, the next call goes on.

        Raises:
            StepError, DeadlineError: something could not be removed; says what.
        """
        ...

    def leftovers(self, report: Reporter) -> list[Leftover]:
        """What carries binder-node's labels and is no part of this node: of other nodes all (the caller knows which
        of them have an inventory), of this one what its Spec does not want. Changes nothing.
        """
        ...
