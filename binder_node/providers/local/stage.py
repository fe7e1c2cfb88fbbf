"""The local provider: a machine made, started, reached and removed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.node import Access, Node
from binder_node.providers.base import KEEP, Kept, Leftover, access_to
from binder_node.providers.local import machine
from binder_node.providers.local.plan import Folders, bridge_name, local
from binder_node.providers.local.roots import ensure_root, root_of
from binder_node.providers.offers import Offer, Tariff, stated_offer, stated_tariff
from binder_node.providers.userdata import document

SSH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class LocalSeen:
    """The machine as it is. ``made``: it has a root of its own; ``answers``: ssh lets us in."""

    root: bool
    made: bool
    running: bool
    answers: bool


def cache_folder() -> Path:
    """Where roots are cached: ``BINDER_NODE_CACHE``, or the user's cache folder."""
    import platformdirs

    override = os.environ.get("BINDER_NODE_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("binder-node")


def machines_folder() -> Path:
    """Where machines lie: ``BINDER_NODE_LOCAL_DIR``, or the user's data folder."""
    import platformdirs

    override = os.environ.get("BINDER_NODE_LOCAL_DIR")
    return Path(override) if override else platformdirs.user_data_path("binder-node") / "machines"


@dataclass(frozen=True)
class LocalMachine:
    """Provider of kind ``local``."""

    node: Node
    name: str = "machine"

    @property
    def folders(self) -> Folders:
        return Folders(machines_folder() / self.node.spec.name)

    def nothing(self) -> LocalSeen:
        return LocalSeen(False, False, False, False)

    def inspect(self, report: Reporter) -> LocalSeen:
        """Raises StepError when another host key answers at the machine's address."""
        del report
        running = machine.supervisor(self.folders) is not None
        access = self._access()
        if running:
            self._write(access)
        return LocalSeen(
            root=self.folders.lower.is_dir() or root_of(cache_folder(), local(self.node.spec).suite).is_dir(),
            made=running or self.folders.lower.is_symlink(),
            running=running,
            answers=running and remote.answers(access),
        )

    def changes(self, seen: LocalSeen) -> list[Change]:
        spec = self.node.spec
        wanted = []
        if not seen.root:
            wanted.append(Change(self.name, "create", f"root of {local(spec).suite} in the cache"))
        if not seen.made:
            address = local(spec).address
            wanted.append(Change(self.name, "create", f"machine {spec.name} at {address} on {bridge_name(spec)}"))
        if not seen.running:
            wanted.append(Change(self.name, "start", f"machine {spec.name}"))
        elif not seen.answers:
            wanted.append(Change(self.name, "restart", f"machine {spec.name}, which does not answer ssh"))
        return wanted

    def apply(self, seen: LocalSeen, report: Reporter) -> None:
        """Raises StepError or DeadlineError; killed anywhere, the next call goes on or begins anew."""
        spec, folders = self.node.spec, self.folders
        if os.geteuid() != 0:
            raise StepError("here", "make a local machine", "only root can mount and make networks", "run it with sudo")
        if shutil.which("systemd-nspawn") is None:
            remedy = "run `bootstrap/prepare packages`"
            raise StepError("here", "make a local machine", "systemd-nspawn is not installed", remedy)
        if not self.changes(seen):
            return
        made_from = folders.lower.readlink() if folders.lower.is_symlink() else None
        lower = made_from or ensure_root(cache_folder(), local(spec).suite, report)
        if seen.running or machine.processes(folders):
            # One that does not answer, or a start that was cut short and never recorded.
            machine.stop(spec, folders)
        remote.disconnect(self._access())
        report(Event("progress", self.name, "mount its root and disk"))
        folders.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        machine.ensure_bridge(spec)
        machine.make_disk(spec, folders)
        machine.mount_root(spec, folders, lower)
        machine.fill_root(spec, folders, document(spec, self.node.secrets))
        access = self._access()
        self._write(access)
        report(Event("progress", self.name, "boot"))
        machine.start(spec, folders)
        remote.wait_for_ssh(access, SSH_SECONDS, lambda: machine.check_alive(spec, folders))

    def access(self, seen: LocalSeen) -> Access | None:
        return self._access() if seen.answers else None

    def address(self, seen: LocalSeen) -> str:
        del seen
        return str(local(self.node.spec).address)

    def offers(self, report: Reporter) -> list[Offer]:
        del report
        stated = stated_offer(self.node.spec, "local")
        return [stated] if stated else []

    def own_offer(self, report: Reporter) -> Offer | None:
        del report
        return stated_offer(self.node.spec, "local")

    def tariff(self, report: Reporter) -> Tariff:
        del report
        return stated_tariff(self.node.spec)

    def doomed(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> list[Change]:
        """Address and disk are one with the machine: nothing of it is kept."""
        del report, keep
        spec = self.node.spec
        if not self.folders.base.exists() and not machine.processes(self.folders):
            # Kept when the machine went, for others had ports on it then.
            bridge = machine.idle_bridge(spec)
            return [Change(self.name, "delete", f"bridge {bridge}, which nobody uses")] if bridge else []
        gone = f"machine {spec.name} at {local(spec).address}, with its disk in {self.folders.base}"
        return [Change(self.name, "delete", gone)]

    def leftovers(self, report: Reporter) -> list[Leftover]:
        """Folders of machines besides this one's."""
        del report
        home = machines_folder()
        names = sorted(folder.name for folder in home.iterdir() if folder.is_dir()) if home.is_dir() else []
        return [Leftover("machine", name, str(home / name), name) for name in names if name != self.node.spec.name]

    def destroy(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> None:
        """Leaves no process, link, mount, address, cgroup or file; the cached root stays."""
        del keep
        spec, folders = self.node.spec, self.folders
        report(Event("progress", self.name, "end its processes"))
        remote.disconnect(self._access())
        machine.stop(spec, folders)
        report(Event("progress", self.name, "remove its mounts, links and files"))
        machine.remove(spec, folders)
        for name in ("login_key", "known_hosts", "ssh_config", "control"):
            (self.node.runtime / name).unlink(missing_ok=True)

    def _access(self) -> Access:
        return access_to(self.node, local(self.node.spec).address)

    def _write(self, access: Access) -> None:
        secrets = self.node.secrets
        remote.write_access(access, secrets.login_key.reveal(), secrets.host_key_public)
