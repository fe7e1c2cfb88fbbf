"""The stage ``names``: the public names lead to the machine, as the zone's own servers say."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

from binder_node.changes import Change
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.names import servers
from binder_node.names.base import STAGE, Zone, zone_of
from binder_node.names.records import Edit, Found, Other, asked, covered, edits, looks_after, removals, wanted
from binder_node.names.servers import Answer, astray, told
from binder_node.node import Node
from binder_node.spec.public import NoDns, ZoneDns

POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """``found`` is what of the zone concerns the node; ``astray`` are answers of its servers that lead elsewhere.

    ``member``: the member's names are this node's, and not those of one whose place it takes, or that takes its.
    """

    found: tuple[Found, ...] = ()
    astray: tuple[Answer, ...] = ()
    looked: bool = True
    member: bool = True


@dataclass(frozen=True)
class NamesStage:
    """``address`` is the machine's public one, empty while nobody knows it. With ``takes`` the member's names are
    moved here from that node, which has them still."""

    node: Node
    address: str
    name: str = field(default=STAGE)
    takes: Other | None = None

    @cached_property
    def _zone(self) -> Zone | None:
        """Made once: its token may be a command that asks a person."""
        return zone_of(self.node)

    def nothing(self) -> Seen:
        return Seen(looked=False, member=not self.node.spec.replaces)

    def inspect(self, report: Reporter) -> Seen:
        """Raises StepError or DeadlineError where the zone's server does not answer, or does not take our word."""
        del report
        found = tuple(self._zone.read(self._names())) if self._zone is not None else ()
        member = self._member(found)
        return Seen(found, self._astray(member), member=member)

    def changes(self, seen: Seen) -> list[Change]:
        made = self._edits(seen)
        if made:
            return [Change(STAGE, edit.action, _what(edit)) for edit in made]
        if seen.looked and not seen.astray:
            return []
        if seen.looked:
            return [Change(STAGE, "run", f"wait for name servers: {told(seen.astray)}")]
        return [Change(STAGE, "run", f"wait until {spec_names(self.node, seen.member)} lead to the machine")]

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Write the records, or have a person do so; then wait for every server of the zone.

        Raises:
            StepError: a record that is not this node's leads elsewhere, and nobody said to write over it; or the
                zone's server refused.
            DeadlineError: a server of the zone does not have the records yet; says which, and what it answers.
        """
        made = self._edits(seen)
        self._refuse(made, seen.member)
        if made and self._zone is not None:
            with step(report, STAGE, f"{len(made)} records in {_named(self.node)}"):
                self._zone.write(made)
        elif self._zone is None:
            self._print(report, seen.member)
        self._await(report, seen.member)

    def doomed(self, report: Reporter) -> list[Change]:
        """What :meth:`destroy` would remove. Raises as :meth:`inspect`."""
        del report
        return [Change(STAGE, "delete", str(edit)) for edit in self._removals()]

    def destroy(self, report: Reporter) -> None:
        """Remove the records that this node wrote; those that a person wrote are a person's to remove.

        Raises as :meth:`inspect`.
        """
        gone = self._removals()
        if self._zone is not None and gone:
            with step(report, STAGE, f"remove {len(gone)} records from {_named(self.node)}"):
                self._zone.write(gone)
        elif self.node.spec.dns.kind == "manual":
            report(Event("warn", STAGE, f"records of {spec_names(self.node)} are yours to remove"))

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [*(record.name for record in wanted(self.node.spec, self.address)), *covered(self.node.spec)]

    def _member(self, found: tuple[Found, ...]) -> bool:
        """Whether the member's names are this node's to keep."""
        node = self.node
        if self.takes is not None or not (node.spec.replaces or node.successor):
            return True
        if self._zone is not None:
            return looks_after(node.spec, node.successor, self.address, found)
        # A person's records bear no mark: whom they lead to has them.
        return not self._astray(member=True)

    def _edits(self, seen: Seen) -> tuple[Edit, ...]:
        spec = self.node.spec
        if not isinstance(spec.dns, ZoneDns):
            return ()
        return edits(spec, self.address, seen.found, member=seen.member, takes=self.takes)

    def _removals(self) -> tuple[Edit, ...]:
        return removals(self.node.spec.name, self._zone.read(self._names())) if self._zone is not None else ()

    def _refuse(self, made: tuple[Edit, ...], member: bool) -> None:
        dns = self.node.spec.dns
        foreign = [str(found.record) for edit in made for found in edit.foreign]
        if foreign and not (isinstance(dns, ZoneDns) and dns.adopt):
            raise StepError(
                self.node.spec.name,
                f"point {spec_names(self.node, member)} at {self.address}",
                f"{', '.join(foreign)} is there and not this node's",
                "remove it, or say `adopt: true` in `dns` to have it written over; nothing was changed",
            )

    def _print(self, report: Reporter, member: bool) -> None:
        lines = [record.line() for record in wanted(self.node.spec, self.address, member=member)]
        report(Event("warn", STAGE, "put these records into the zone:", {"records": lines}))
        for line in lines:
            report(Event("warn", STAGE, line))

    def _astray(self, member: bool) -> tuple[Answer, ...]:
        dns, spec = self.node.spec.dns, self.node.spec
        if isinstance(dns, NoDns):
            return ()
        there, trouble = servers.servers(dns.nameservers, _named(self.node), spec.names.binder)
        return (*trouble, *astray(servers.ask_all(there, asked(spec, member=member)), self.address))

    def _await(self, report: Reporter, member: bool) -> None:
        dns = self.node.spec.dns
        if isinstance(dns, NoDns):
            return
        deadline, said = time.monotonic() + dns.wait, ""
        names = spec_names(self.node, member)
        with step(report, STAGE, f"wait until all name servers lead {names} to {self.address}"):
            while left := self._astray(member):
                if told(left) != said:
                    said = told(left)
                    report(Event("progress", STAGE, said))
                if time.monotonic() > deadline:
                    remedy = "the same command waits on; `dns.wait` is how long"
                    what = f"all name servers to lead to {self.address}"
                    raise DeadlineError(self.node.spec.name, what, dns.wait, said, remedy)
                time.sleep(POLL_SECONDS)


def spec_names(node: Node, member: bool = True) -> str:
    names = node.spec.names
    return f"{names.binder} and *.{names.binder}" if member else names.hub


def _named(node: Node) -> str:
    dns = node.spec.dns
    return dns.zone if isinstance(dns, ZoneDns) else ""


def _what(edit: Edit) -> str:
    return f"{edit} (not this node's)" if edit.foreign else str(edit)
