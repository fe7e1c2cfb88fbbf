"""The stage ``host``: from a machine that answers ssh to one on which everything below the release runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.host import observe, restore
from binder_node.host.asking import answered
from binder_node.host.devices import disks, verdict
from binder_node.host.diff import STAGE, Todo, todo
from binder_node.host.disk import FIND_UNIT, data_disk
from binder_node.host.logs import UNITS as LOGS
from binder_node.host.observe import Seen
from binder_node.host.operations import RESTORE, UNITS, WAIT, operations
from binder_node.host.parent import Failed, child
from binder_node.host.render import render
from binder_node.host.restore import Restore
from binder_node.host.upload import as_root, upload_all
from binder_node.host.wanted import Wanted
from binder_node.node import Access, Node
from binder_node.secrets.masked import MASK

LOOK_SECONDS = 60
LOG_LINES = 20
RESTORE_AGAIN = "binder-node up --restore"
FORGET = "forget the pods of the machine before"


@dataclass
class HostStage:
    """``manifests`` is what K3s applies by itself, ``engine`` the build engine's files by relative path; ``back`` a
    backup that a bare machine is made from."""

    node: Node
    access: Access | None
    address: str
    manifests: str
    engine: Mapping[str, bytes]
    back: Restore | None = None
    name: str = field(default=STAGE)

    @cached_property
    def wanted(self) -> Wanted:
        node = self.node
        return render(
            node.spec,
            node.secrets,
            node.artifacts,
            self.address,
            self.manifests,
            self.engine,
            node.erase_disk,
            node.made_of,
            node.sealing,
        )

    def nothing(self) -> Seen:
        return Seen()

    def inspect(self, report: Reporter) -> Seen:
        """One round trip over the shared connection, tens of milliseconds: pyinfra is started for changes only.

        Raises:
            StepError: ssh failed, the machine has no python3, or its data disk is not ours to take.
        """
        access = self._reached()
        spec = self.node.spec
        ask = observe.question(self.wanted, str(spec.machine.state), restore.databases(spec) if self.back else ())
        sudo = f", and sudo without a password: {remote.let_become_root(access.user)}"
        remedy = f"it needs python3{'' if access.user == 'root' else sudo}"
        step = "look at the machine"
        said = answered(access, observe.script("look"), ask, timeout=LOOK_SECONDS, step=step, remedy=remedy)
        seen = observe.answer(said)
        self._check_disk(seen, report)
        self._check_restore(seen)
        for warning in self._sizes(seen):
            report(Event("warn", self.name, warning))
        return seen

    def changes(self, seen: Seen) -> list[Change]:
        first = []
        if self.back is not None and restore.wanted(self.back, seen):
            first = [Change(self.name, "run", f"put back backup {self.back.describe()}")]
        elif restore.unsettled(seen):
            first = [Change(self.name, "run", FORGET)]
        return [*first, *self._todo(seen).changes]

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Upload what is missing while pyinfra starts, then let it make the rest so.

        Raises:
            StepError: an upload or an operation failed; with a unit's last log lines where one did not start.
            DeadlineError: a unit started and did not come up.
        """
        access, doing = self._reached(), self._todo(seen)
        back = self.back if restore.wanted(self.back, seen) else None
        with child(access) as running:
            upload_all(access, [upload for work in doing.works for upload in work.uploads], report)
            if back is not None:
                self._hand_over(access, back, report)
            asked = restore.question(self.node.spec, back) if back is not None else None
            failed = running.run(operations(self.wanted, doing, asked), report)
            if failed is not None:
                raise self._why(access, failed)
        if back is not None or restore.unsettled(seen):
            with step(report, self.name, FORGET):
                done = remote.run(access, as_root(access, restore.SETTLE), timeout=restore.SECONDS, check=False)
                if done.code != 0:
                    raise StepError(access.name, FORGET, done.stderr, "run the same command again")

    def _hand_over(self, access: Access, back: Restore, report: Reporter) -> None:
        """The backup to the machine's memory."""
        folder = shlex.quote(restore.ARCHIVE.rpartition("/")[0])
        script = f"umask 077; mkdir -p {folder}; cat > {shlex.quote(restore.ARCHIVE)}"
        with step(report, self.name, f"hand over backup {back.name}"):
            remote.run(access, as_root(access, script), timeout=restore.SECONDS, input=back.archive.read_bytes())

    def _todo(self, seen: Seen) -> Todo:
        return todo(self.wanted, seen)

    def _reached(self) -> Access:
        if self.access is None:
            raise StepError(self.node.spec.name, "reach the machine", "there is none yet", "run `binder-node up` first")
        return self.access

    def _check_disk(self, seen: Seen, report: Reporter) -> None:
        """Before anything is done: no part of a node is made beside the disk that it belongs on."""
        wanted = data_disk(self.node.spec, self.node.erase_disk)
        if wanted is None and FIND_UNIT in seen.manifest.get("units", []):
            why = "this node's state is on a data disk, and the inventory no longer names one"
            raise StepError(self.node.spec.name, "take the data disk", why, "put machine.data_disk back")
        if wanted is None or seen.disks is None:
            return
        found = verdict(wanted, disks(seen.disks))
        if found.todo == "refuse":
            raise StepError(self.node.spec.name, "take the data disk", found.why, found.remedy)
        if wanted.erase and found.todo in ("mount", "nothing"):
            # The same command again, or one out of a shell's history: what a node keeps is not lost to that.
            report(
                Event("warn", self.name, f"--erase-disk {wanted.erase}: it is this node's already; nothing is erased")
            )
        if found.todo != "nothing" and found.device is not None:
            # What will be there, not the root disk that the folder lies on as yet.
            seen.machine["disk"] = found.device.size

    def _check_restore(self, seen: Seen) -> None:
        """Nothing is put over what a machine has, and no unit is started on half of what it shall have."""
        why = restore.hindrance(self.node.spec, seen, self.back)
        if why and self.back is None:
            raise StepError(self.node.spec.name, "look at the machine", why, f"{RESTORE_AGAIN} {self.node.spec.name}")
        if why:
            remedy = "a backup goes to a bare machine: without --restore, `up` goes on with what is there"
            raise StepError(self.node.spec.name, "put the backup back", why, remedy)

    def _sizes(self, seen: Seen) -> Iterator[str]:
        """Where the machine is smaller than the inventory says; every default was computed from that."""
        said, machine = self.node.spec.machine, seen.machine
        # Firmware and kernel keep some of the memory, a filesystem some of the disk.
        for what, wanted, real in (
            ("memory", int(said.memory), machine.get("memory", 0)),
            ("disk", self.node.spec.state_disk, machine.get("disk", 0)),
        ):
            if real < 0.85 * wanted:
                yield f"machine.{what} says {wanted / 1e9:.0f} GB, the machine has {real / 1e9:.1f} GB"
        if machine.get("cpus", 0) < said.cpus:
            yield f"machine.cpus says {said.cpus}, the machine has {machine.get('cpus', 0)}"

    # --- failures ------------------------------------------------------------------------------------------------

    def _why(self, access: Access, failed: Failed) -> StepError:
        stderr = self.masked(failed.stderr.strip() or failed.stdout.strip())
        name = self.node.spec.name
        if failed.operation == WAIT and "\t" in stderr:
            unit, what, last = stderr.splitlines()[0].split("\t")
            seconds = next((u.deadline for c in self.wanted.components for u in c.units if u.name == unit), 0.0)
            return DeadlineError(
                name, f"{unit} ({what})", seconds, f"{last}\n{self._log(access, [unit])}", self._remedy(unit)
            )
        if failed.operation == UNITS:
            own = [unit.name for component in self.wanted.components for unit in component.units]
            down = self._down(access, own)
            return StepError(
                name, f"start {', '.join(down) or 'units'}", f"{stderr}\n{self._log(access, down)}", self._remedy(*down)
            )
        barred = " (a machine that has databases already gets none)" if failed.operation == RESTORE else ""
        return StepError(name, failed.operation, stderr, f"run the same command again{barred}")

    def _down(self, access: Access, units: list[str]) -> list[str]:
        """Those that systemd holds for failed, or that fall over again and again."""
        asked = f"systemctl list-units --all --plain --no-legend --state=failed,auto-restart -- {shlex.join(units)}"
        done = remote.run(access, asked, check=False)
        return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]

    def _log(self, access: Access, units: list[str]) -> str:
        """The last lines of each unit, under its name."""
        each = (f"echo {unit}:; journalctl --no-pager -o cat -n {LOG_LINES} -u {unit}" for unit in units)
        asked = as_root(access, "; ".join(each) or "true")
        return self.masked(remote.run(access, asked, check=False).stdout.strip())

    def masked(self, text: str) -> str:
        """``text`` with each of the node's secrets as ``***``."""
        for value in self.node.secrets.hidden():
            if value.reveal():
                text = text.replace(value.reveal(), MASK)
        return text

    def _remedy(self, *units: str) -> str:
        component = next((name for name, its in LOGS.items() if set(units) & set(its)), None)
        more = f"binder-node logs {self.node.spec.name} {component}" if component else ""
        return f"more with `{more}`" if more else "see the machine's journal"
