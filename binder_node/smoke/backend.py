"""testinfra over the node's own ssh configuration: strict, one shared connection, a deadline for each command."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from binder_node import remote
from binder_node.errors import StepError
from binder_node.node import Access

# Of a command that says no other.
SECONDS = 30.0


class NodeBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Commands of testinfra's, as root, by :func:`binder_node.remote.run`.

    testinfra's own ssh backend waits for ever, and its paramiko backend takes any host key.
    """

    NAME = "binder-node"

    def __init__(self, access: Access) -> None:
        super().__init__(access.name, sudo=access.user != "root")
        self.access = access

    def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
        """As testinfra's, but never asking for a password."""
        usual: str = super().get_sudo_command(command, sudo_user)
        return "sudo -n " + usual.removeprefix("sudo ")

    def run(self, command: str, *args: str, **more: Any) -> CommandResult:
        """``timeout`` in seconds and ``input`` may be said besides.

        Raises:
            StepError: ssh itself failed.
            DeadlineError: the command did not end in time.
        """
        whole = self.get_command(command, *args)
        done = remote.run(
            self.access, whole, timeout=more.get("timeout", SECONDS), input=more.get("input"), check=False
        )
        return self.result(done.code, whole.encode(), done.stdout, done.stderr)


class NodeHost(Host):  # type: ignore[misc]
    """testinfra's host. A command that has to succeed and does not is the machine's failure: testinfra's own
    AssertionError would be told as a bug of the check."""

    def run_expect(self, expected: list[int], command: str, *args: str, **more: Any) -> CommandResult:
        """Raises StepError where the command ends with another code, and as :meth:`NodeBackend.run`."""
        done = self.run(command, *args, **more)
        if done.rc not in expected:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            reason = said[-1] if said else f"exit code {done.rc}"
            name = self.backend.access.name
            raise StepError(name, f"look at the machine ({short(command)})", reason, f"run `binder-node up {name}`")
        return done

    def check_output(self, command: str, *args: str, **more: Any) -> str:
        """Stdout without its last line's end. Raises as :meth:`run_expect`."""
        return str(self.run_expect([0], command, *args, **more).stdout).rstrip("\r\n")


def short(command: str) -> str:
    """The begin of a command, for a message.

    >>> short("cat /etc/hosts"), short("for a in b; do " + 9 * "something ")
    ('cat /etc/hosts', 'for a in b; do something something ...')
    """
    return command if len(command) <= 40 else command[:40].rpartition(" ")[0] + " ..."


def host_of(access: Access) -> NodeHost:
    """testinfra's host for a machine; nothing is connected yet."""
    backend = NodeBackend(access)
    host = NodeHost(backend)
    backend.set_host(host)
    return host
