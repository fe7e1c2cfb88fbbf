"""The steps of a rotation, each on its own: done twice it changes nothing, killed anywhere the next run goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from binder_node import files, remote
from binder_node.artifacts.store import Sources
from binder_node.binder.client import BUILD_SECONDS
from binder_node.cluster.kube import sudo
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.federation import drain
from binder_node.federation.book import put
from binder_node.layout import registry_name
from binder_node.lifecycle import carrying, draining, events, generations, verbs
from binder_node.lifecycle.opened import Opened, open_node
from binder_node.lifecycle.releasing import refuse_other_changes, release
from binder_node.lifecycle.standing import Pair, View
from binder_node.names.records import Other, wanted
from binder_node.names.stage import NamesStage
from binder_node.providers.base import KEEP, Kept
from binder_node.rotation.popular import popular
from binder_node.rotation.quiet import Traffic, quiet_since, traffic
from binder_node.rotation.successor import Setting
from binder_node.spec.model import SshProvider
from binder_node.spec.public import ManualDns, NoDns

STAGE = "rotate"
# Some people's resolvers keep a record for longer than they may: so long is waited for silence, and no longer.
STRAGGLERS_SECONDS = 1800.0
# A look at a node that is busy may fail; so many in a row are an outage.
FAILED_LOOKS = 5
# After the longest that a session may last the culler looks every 11 minutes (values/base.yaml, cull.every).
CULL_SECONDS = 1500.0
WEEK = 7 * 86400.0
# An image of some GB from an object store that is slow.
PULL_SECONDS, PULLS = 900.0, 2
JOURNAL_SECONDS = 120.0
JOURNAL = (
    "journalctl -u registry-pull.service --since '-{days} days' -o cat --no-pager "
    """| grep -o '"GET /v2/[^"]*" [0-9]*' | sort | uniq -c"""
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the operator wants it. ``images`` launched most in the last ``days`` are pulled beforehand; ``wait`` is how
    long the last session is waited for (seconds, None: the hub's own limit), ``every`` between two looks.

    ``smoke`` checks the node of an inventory and says what is wrong, empty when nothing is; ``confirm`` lets a person
    confirm the host key of a machine that was found.
    """

    settings: tuple[Setting, ...] = ()
    days: int = 7
    images: int = 20
    wait: float | None = None
    every: float = 30.0
    keep: frozenset[Kept] = KEEP
    smoke: Callable[[Path, Reporter], list[str]] | None = None
    confirm: Callable[[Opened], Opened] = field(default=lambda opened: opened)


@dataclass(frozen=True)
class Steps:
    """``sources`` are artifacts', as for ``up``."""

    pair: Pair
    wishes: Wishes
    sources: Sources
    report: Reporter

    def write(self, old: View) -> None:
        """The new inventory. Raises InputError, StepError."""
        with step(self.report, STAGE, f"write {self.pair.new}"):
            generations.write(self.pair.old, old.spec, self.pair.new.stem, self.wishes.settings)

    def up(self, old: View | None, new: View) -> None:
        """The new node, brought up beside the old one, with the old one's certificates before anybody asks for them.

        Raises:
            StepError: the old one has changes to make: a drain, later, would make them too.
        """
        if old is not None and old.release[0]:
            refuse_other_changes(old.opened, self.sources, self.report)
        node = open_node(self.wishes.confirm(new.opened), self.report, sources=self.sources)
        carries = new.spec.tls.mode == "acme" and old is not None and old.access is not None
        if carries:
            verbs.up(node, self.report, through="access")
            self._carry(old, new)
        verbs.up(node, self.report)

    def _carry(self, old: View | None, new: View) -> None:
        from binder_node.lifecycle.opened import access_of

        assert old is not None
        access, _ = access_of(new.opened)
        sides = carrying.Side(old.spec, old.reached()), carrying.Side(new.spec, access)
        carrying.carry_certificates(*sides, self.report)

    def mirror(self, old: View, new: View) -> None:
        """All of the old bucket in the new one. Raises StepError, DeadlineError."""
        from binder_node.lifecycle.mirroring import mirror

        mirror(old, new, self.report)

    def warm(self, old: View | None, new: View) -> None:
        """The images launched most on the old node, pulled on the new one. One that cannot be pulled is told."""
        if old is None or old.access is None or not self.wishes.images:
            return
        spec = old.spec
        names = popular(
            self._requests(old), registry_name(spec.names.registry), spec.registry.prefix, self.wishes.images
        )
        with (
            step(self.report, STAGE, f"pull the {len(names)} images launched most on {new.name}") as told,
            ThreadPoolExecutor(max_workers=PULLS) as pool,
        ):
            told["pulled"] = sum(pool.map(lambda image: self._pull(new, image), names))

    def _requests(self, old: View) -> list[str]:
        access = old.reached()
        command = JOURNAL.format(days=self.wishes.days)
        script = f"{sudo(access)}sh -c {shlex.quote(command)}"
        return remote.run(access, script, timeout=JOURNAL_SECONDS, check=False).stdout.splitlines()

    def _pull(self, new: View, image: str) -> bool:
        access, name = new.reached(), shlex.quote(image)
        crictl = f"{sudo(access)}k3s crictl"
        script = f"{crictl} inspecti -q {name} > /dev/null 2>&1 || {crictl} pull {name} > /dev/null"
        try:
            done = remote.run(access, script, timeout=PULL_SECONDS, check=False)
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1] if done.code else ""
        except DeadlineError as error:
            reason = error.reason
        if reason:
            # It may be gone from the registry, and a launch builds it anew; the old node would have to as well.
            self.report(Event("warn", STAGE, f"{image} is not on {new.name}: {reason}"))
        return not reason

    def smoke(self, new: View) -> None:
        """Raises StepError with what is wrong."""
        if self.wishes.smoke is None:
            return
        with step(self.report, STAGE, f"check {new.name}"):
            wrong = self.wishes.smoke(self.pair.new, self.report)
        if wrong:
            remedy = f"`binder-node smoke {new.name}` tells more; the names were not moved"
            raise StepError(new.name, "check the new node", "; ".join(wrong), remedy)

    # --- names -----------------------------------------------------------------------------------------------------

    def move(self, there: View | None, here: View) -> None:
        """The member's names from ``there`` to ``here``. The hub of each keeps its own name, and its sessions.

        Raises:
            StepError: a record leads to a third machine; nothing was changed.
            DeadlineError: a server of the zone does not have the records yet.
        """
        if there is not None and there.machine:
            if isinstance(there.spec.dns, ManualDns):
                record = wanted(there.spec, there.address, member=False)[0]
                self.report(Event("warn", STAGE, f"sessions stay on {there.name}: keep this record, or write it first"))
                self.report(Event("warn", STAGE, record.line()))
            else:
                self._names(NamesStage(there.node, there.address))
        takes = Other(there.name, there.address) if there is not None else None
        with step(self.report, STAGE, f"move {here.spec.names.binder} to {here.name}"):
            self._names(NamesStage(here.node, here.address, takes=takes or Other(self.pair.old.stem, "")))

    def _names(self, stage: NamesStage) -> None:
        seen = stage.inspect(self.report)
        changes = stage.changes(seen)
        for change in changes:
            self.report(Event("change", change.stage, f"{change.action} {change.what}", {"action": change.action}))
        if changes:
            stage.apply(seen, self.report)

    # --- the node that goes ----------------------------------------------------------------------------------------

    def settle(self, goes: View, ttl: float) -> None:
        """Wait until nobody launches there any more: for as long as a name may be remembered, nothing was under way.

        Raises:
            StepError: it does not tell its launches.
        """
        began, looks, failed = time.monotonic(), list[Traffic](), 0
        every = min(5.0, max(0.5, ttl / 5))
        what = f"wait until nothing was launched on {goes.name} for {ttl:.0f} s"
        with step(self.report, STAGE, what), goes.member() as member:
            while True:
                sample = member.look()
                found = traffic(sample)
                failed = 0 if found else failed + 1
                if failed == FAILED_LOOKS:
                    raise StepError(goes.name, "see its launches", sample.error or "it tells none", "is it up?")
                looks += [found] if found else []
                since = quiet_since(looks)
                if since is not None and looks[-1].at - since >= ttl:
                    return
                if self._enough(goes, looks, time.monotonic() - began):
                    return
                time.sleep(every)

    def _enough(self, goes: View, looks: list[Traffic], seconds: float) -> bool:
        under_way = looks[-1].under_way if looks else 0
        if seconds < (BUILD_SECONDS if under_way else STRAGGLERS_SECONDS):
            self.report(Event("progress", STAGE, f"{goes.name}: {under_way:.0f} launches and builds under way"))
            return False
        self.report(Event("warn", STAGE, f"{goes.name} is still launched on after {seconds / 60:.0f} min; going on"))
        return True

    def drain(self, goes: View, *, old: bool) -> None:
        """Quota 0, in force. Raises StepError, DeadlineError."""
        if old:
            draining.drain_here(goes.opened, self.sources, self.report)
        else:
            # One that goes back where it came from: whatever else its release lacks, nobody needs it.
            self._edit(goes, drain.drained)
            release(goes.opened, self.sources, self.report)
        with goes.member() as member:
            draining.await_quota(member, True, self.report)

    def undrain(self, stays: View) -> None:
        """The quota as it was before :meth:`drain`; of a node that is not up yet, in its inventory."""
        self._edit(stays, drain.undrained)
        if not stays.release[1]:
            return
        # Not as `undrain` does, which refuses where the release is not as the inventory says: a drain may have been
        # killed between the two.
        release(stays.opened, self.sources, self.report)
        with stays.member() as member:
            draining.await_quota(member, False, self.report)

    def _edit(self, view: View, edit: Callable[[str, str], str]) -> None:
        path = view.opened.inventory
        text = files.text(path, "name an inventory")
        put(path, text, edit(text, str(path)))

    def wait(self, goes: View) -> None:
        """Until its last session has ended. Raises DeadlineError."""
        age = draining.max_age(goes.spec)
        seconds = self.wishes.wait if self.wishes.wait is not None else age + CULL_SECONDS if age else WEEK
        with step(self.report, STAGE, f"wait for the sessions on {goes.name}"), goes.member() as member:
            draining.wait_empty(member, self.wishes.every, seconds, self.report)

    def archive(self, goes: View) -> None:
        """The launches that only its machine knows, into the archive: its timer may not come to them any more.

        A machine without a release may lack what it takes, and is told alone; so is one that does not answer.

        Raises:
            StepError, DeadlineError: the archive was not made, and the machine is not to go yet.
        """
        if goes.spec.central or not goes.machine:
            return
        if goes.access is None:
            why = "its machine does not answer, and what it knows alone is lost with it"
            self.report(Event("warn", STAGE, f"launches of {goes.name} are not archived: {why}"))
            return
        try:
            with step(self.report, STAGE, f"archive the launches of {goes.name}"):
                events.archive_now(goes.opened, goes.access)
        except StepError as error:
            if goes.release[0]:
                raise
            self.report(Event("warn", STAGE, f"launches of {goes.name} are not archived: {error}"))

    def destroy(self, goes: View) -> None:
        """Its own names, then its machine; one that was found stays. Raises StepError, DeadlineError."""
        if isinstance(goes.spec.provider, SshProvider):
            NamesStage(goes.node, "").destroy(self.report)
            where = f"{goes.name} at {goes.address}"
            self.report(Event("warn", STAGE, f"{where} was not made by binder-node: switch it off where you got it"))
            return
        doomed = verbs.doomed(goes.node, self.report, self.wishes.keep)
        for change in doomed.kept:
            self.report(Event("warn", STAGE, f"stays: {change.what}"))
        verbs.destroy(goes.node, self.report, self.wishes.keep)

    def retire(self, path: Path, stays: Path | None) -> None:
        """The inventory of a node that is gone, with its secrets; ``stays`` replaces it no more."""
        with step(self.report, STAGE, f"{path} to {path.parent / generations.RETIRED}"):
            generations.retire(path)
            if stays is not None:
                generations.settle(stays)


def ttl_of(*views: View | None) -> float:
    """For how long the member's names may be remembered, by what any of the nodes wrote."""
    dns = [view.spec.dns for view in views if view is not None]
    return float(max((one.ttl for one in dns if not isinstance(one, NoDns)), default=0))
