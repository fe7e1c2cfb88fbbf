"""The provider for a machine that exists: nothing to make, one strict connection to prove."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter
from binder_node.layout import MARKERS
from binder_node.node import Access, Node
from binder_node.providers.base import KEEP, Kept, Leftover, access_to
from binder_node.providers.offers import Offer, Tariff, stated_offer, stated_tariff
from binder_node.spec.model import SshProvider

# sudo must not ask: nobody is there to answer. With -n it says so at once.
BECOME_ROOT = "sudo -n true"


@dataclass(frozen=True, slots=True)
class SshSeen:
    """``hindrance``: what keeps us from logging in; ``first``: the operator's own key is let in, the node's is not yet;
    ``sudo``: what keeps the login from becoming root. Empty and False when all is well."""

    hindrance: str = ""
    first: bool = False
    sudo: str = ""


@dataclass(frozen=True, slots=True)
class SshMachine:
    """Provider of kind ``ssh``."""

    node: Node
    name: str = "machine"

    def nothing(self) -> SshSeen:
        return SshSeen("nobody has asked yet")

    def inspect(self, report: Reporter) -> SshSeen:
        """One connection with the node's key; another with the operator's only where that one is not let in.

        Raises:
            InputError: nobody has confirmed the machine's host key yet.
            StepError: another host key answers at the address.
        """
        del report
        hindrance, sudo = self._knock(self._access())
        identity = self._provider.identity
        if hindrance and identity is not None:
            if not self._provider.by_agent and not identity.exists():
                return SshSeen(f"{hindrance}; there is no file {identity}")
            first = self._first_access()
            try:
                barred, sudo = self._knock(first)
            finally:
                remote.disconnect(first)
            return SshSeen(f"{hindrance}; with {self._operators_key}: {barred}" if barred else "", not barred, sudo)
        return SshSeen(hindrance, sudo=sudo)

    def changes(self, seen: SshSeen) -> list[Change]:
        place = f"{self.node.spec.ssh.user}@{self._provider.address}"
        if seen.hindrance:
            return [Change(self.name, "run", f"log in as {place}: {seen.hindrance}")]
        wanted = []
        if seen.first:
            what = f"lines in {self._authorized_keys}: the node's login key, with {self._operators_key}"
            wanted.append(Change(self.name, "update", what))
        if seen.sudo:
            wanted.append(Change(self.name, "run", f"become root as {place}: {seen.sudo}"))
        return wanted

    def apply(self, seen: SshSeen, report: Reporter) -> None:
        """Give the machine the node's login key. One that does not let us in is the operator's to open.

        Raises:
            StepError: nobody is let in, or the login cannot become root; with what to do there.
        """
        del report
        user, address = self.node.spec.ssh.user, self._provider.address
        if seen.hindrance:
            line = self.node.secrets.login_key_public
            remedy = f"append this line to {self._authorized_keys} there: {line}"
            if self._provider.identity is None:
                remedy += "; or name a key that is let in already: provider.identity"
            else:
                remedy += f"; or let {self._operators_key} in as {user}"
            raise StepError(self.node.spec.name, f"log in at {address}", seen.hindrance, remedy)
        if seen.sudo:
            rule = f"{user} ALL=(ALL) NOPASSWD:ALL"
            remedy = f"run there, once: echo '{rule}' | sudo tee /etc/sudoers.d/90-binder-node; or log in as root"
            raise StepError(self.node.spec.name, f"become root at {address} as {user}", seen.sudo, remedy)
        if seen.first:
            first = self._first_access()
            try:
                remote.run(first, first_login(self.node.secrets.login_key_public))
            finally:
                remote.disconnect(first)

    def access(self, seen: SshSeen) -> Access | None:
        return None if seen.hindrance or seen.first else self._access()

    def address(self, seen: SshSeen) -> str:
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

    @property
    def _operators_key(self) -> str:
        return "ssh-agent" if self._provider.by_agent else str(self._provider.identity)

    @property
    def _authorized_keys(self) -> str:
        return f"~{self.node.spec.ssh.user}/.ssh/authorized_keys"

    def _knock(self, access: Access) -> tuple[str, str]:
        """What keeps us from logging in, and from becoming root."""
        return (remote.hindrance(access), "") if access.user == "root" else remote.knock(access, BECOME_ROOT)

    def _access(self) -> Access:
        """With the node's own key."""
        access = access_to(self.node, self._provider.address)
        remote.write_access(access, self.node.secrets.login_key.reveal(), self._host_key())
        return access

    def _first_access(self) -> Access:
        """With the operator's; in a folder of its own, for a shared connection must not let the node's key in."""
        provider, folder = self._provider, self.node.runtime / "first"
        own = access_to(self.node, provider.address, provider.identity)
        first = replace(own, known_hosts=folder / "known_hosts", config=folder / "ssh_config", agent=provider.by_agent)
        remote.write_access(first, "", self._host_key())
        return first

    def _host_key(self) -> str:
        if self._provider.host_key is not None:
            return self._provider.host_key
        wrong = "nobody has confirmed the machine's host key yet"
        right = f"`binder-node up {self.node.spec.name}` shows its fingerprint and asks"
        raise InputError(Problem("", 0, "provider.host_key", wrong, right))


def first_login(key: str) -> str:
    """A shell script that puts the node's ``key`` between our markers in the login's ``authorized_keys``.

    What else is in the file stays. The host room keeps those lines from then on (:mod:`binder_node.host.login`).
    """
    begin, end = MARKERS
    ours = shlex.quote(f"{begin}\n{key.strip()}\n{end}")
    others = f"/^{begin}$/ {{ours = 1}} !ours {{print}} /^{end}$/ {{ours = 0}}"
    return f"""\
set -e
umask 077
mkdir -p ~/.ssh
file=$(readlink -f ~/.ssh/authorized_keys || echo ~/.ssh/authorized_keys)
touch "$file"
awk {shlex.quote(others)} "$file" > "$file.part"
printf '%s\\n' {ours} >> "$file.part"
mv -f "$file.part" "$file"
"""
