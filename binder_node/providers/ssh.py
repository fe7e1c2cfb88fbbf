"""The provider for a machine that exists: nothing to make, one strict connection to prove."""

from __future__ import annotations

from dataclasses import dataclass

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import StepError
from binder_node.events import Reporter
from binder_node.node import Access, Node
from binder_node.spec.model import SshProvider


@dataclass(frozen=True, slots=True)
class SshMachine:
    """Provider of kind ``ssh``. What it sees is whether the machine lets us in."""

    node: Node
    name: str = "machine"

    def nothing(self) -> bool:
        return False

    def inspect(self, report: Reporter) -> bool:
        """Raises StepError when another host key answers at the address."""
        del report
        access = self._access()
        key = "" if self._provider.identity else self.node.secrets.login_key.reveal()
        remote.write_access(access, key, self._provider.host_key)
        return remote.answers(access)

    def changes(self, seen: bool) -> list[Change]:
        return (
            [] if seen else [Change(self.name, "run", f"log in at {self._provider.address}, which does not let us in")]
        )

    def apply(self, seen: bool, report: Reporter) -> None:
        """There is nothing to make; says what the operator has to do."""
        del report
        if not seen:
            remedy = f"put this key into ~{self.node.spec.ssh.user}/.ssh/authorized_keys there: "
            raise StepError(
                self.node.spec.name,
                f"log in at {self._provider.address}",
                "it does not answer, or does not take our key",
                remedy + self.node.secrets.login_key_public,
            )

    def access(self, seen: bool) -> Access | None:
        return self._access() if seen else None

    def address(self, seen: bool) -> str:
        del seen
        return str(self._provider.address)

    def destroy(self, report: Reporter) -> None:
        """A machine that was not made here is not taken away from here."""
        del report
        raise StepError(
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
        runtime, spec = self.node.runtime, self.node.spec
        return Access(
            name=spec.name,
            address=str(self._provider.address),
            port=spec.ssh.port,
            user=spec.ssh.user,
            identity=self._provider.identity or runtime / "login_key",
            known_hosts=runtime / "known_hosts",
            config=runtime / "ssh_config",
        )
