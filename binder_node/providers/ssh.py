"""The provider for a machine that exists: nothing to make, one strict connection to prove."""

from __future__ import annotations

from dataclasses import dataclass

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import StepError
from binder_node.events import Reporter
from binder_node.node import Access, Node
from binder_node.providers.base import KEEP, Kept, Leftover, access_to
from binder_node.providers.offers import Offer, Tariff, stated_offer, stated_tariff
from binder_node.spec.model import SshProvider


@dataclass(frozen=True, slots=True)
class SshMachine:
    """Provider of kind ``ssh``. What it sees is what keeps us from logging in: empty when nothing does."""

    node: Node
    name: str = "machine"

    def nothing(self) -> str:
        return "nobody has asked yet"

    def inspect(self, report: Reporter) -> str:
        """Raises StepError when another host key answers at the address."""
        del report
        access = self._access()
        key = "" if self._provider.identity else self.node.secrets.login_key.reveal()
        remote.write_access(access, key, self._provider.host_key)
        return remote.hindrance(access)

    def changes(self, seen: str) -> list[Change]:
        return [Change(self.name, "run", f"log in at {self._provider.address}: {seen}")] if seen else []

    def apply(self, seen: str, report: Reporter) -> None:
        """There is nothing to make; a machine that does not let us in is the operator's to open."""
        del report
        if seen:
            user, step = self.node.spec.ssh.user, f"log in at {self._provider.address}"
            remedy = f"append this line to ~{user}/.ssh/authorized_keys there: {self.node.secrets.login_key_public}"
            if self._provider.identity:
                remedy = f"let {self._provider.identity} in as {user} there"
            raise StepError(self.node.spec.name, step, seen, remedy)

    def access(self, seen: str) -> Access | None:
        return None if seen else self._access()

    def address(self, seen: str) -> str:
        del seen
        return str(self._provider.address)

    def offers(self, report: Reporter) -> list[Offer]:
        del report
        stated = stated_offer(self.node.spec, "ssh")
        return [stated] if stated else []

    def own_offer(self, report: Reporter) -> Offer | None:
        del report
        return stated_offer(self.node.spec, "ssh")

    def tariff(self, report: Reporter) -> Tariff:
        del report
        return stated_tariff(self.node.spec)

    def doomed(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> list[Change]:
        del report, keep
        raise self._not_ours()

    def destroy(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> None:
        """A machine that was not made here is not taken away from here."""
        del report, keep
        raise self._not_ours()

    def leftovers(self, report: Reporter) -> list[Leftover]:
        del report
        return []

    def _not_ours(self) -> StepError:
        return StepError(
            self.node.spec.name,
            "destroy",
            "this machine was not made by binder-node",
            "give it back where you got it; there is nothing of it here but the inventory and its secrets",
        )

    @property
    def _provider(self) -> SshProvider:
        assert isinstance(self.node.spec.provider, SshProvider)
        return self.node.spec.provider

    def _access(self) -> Access:
        return access_to(self.node, self._provider.address, self._provider.identity)
