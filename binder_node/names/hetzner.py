"""A zone at Hetzner, through the project's API. https://docs.hetzner.cloud/reference/cloud#zones

A record set's owner stands in its labels, like that of everything else a node has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from binder_node.errors import DeadlineError, StepError
from binder_node.names.base import missing_zone
from binder_node.names.records import KINDS, Edit, Found, Kind, Record
from binder_node.providers.hetzner.model import MANAGER, MANAGER_LABEL, NODE_LABEL, labels, selector
from binder_node.providers.hetzner.transport import Patience, Refused, Transport
from binder_node.secrets.masked import Masked
from binder_node.spec.public import HetznerDns

if TYPE_CHECKING:
    from hcloud.zones import BoundZone, BoundZoneRRSet

# Writing a zone takes the API a second or two.
ACTION_SECONDS = 60


@dataclass(slots=True)
class Hetzner:
    """One zone of the project that ``token`` opens. Edits are made one after another; each may be made again."""

    node: str
    dns: HetznerDns
    token: Masked
    patience: Patience = field(default_factory=Patience)
    _transport: Transport | None = field(default=None, init=False)

    def read(self, names: Iterable[str]) -> list[Found]:
        """Raises StepError."""
        zone = self._zone()
        asked: list[dict[str, str]] = [{"name": relative(name, self.dns.zone)} for name in names]
        rows: dict[str, BoundZoneRRSet] = {}
        for one in [*asked, {"label_selector": selector(self.node)}]:
            rows |= {str(row.id): row for row in self._sets(zone, one)}
        default = int(zone.ttl or 0)
        return [self._found(row, default) for row in rows.values() if row.type in KINDS]

    def write(self, edits: Sequence[Edit]) -> None:
        """Raises StepError or DeadlineError; what was made until then stays, and the same edits may be made again."""
        zone = self._zone()
        for edit in edits:
            kept = next((f for f in edit.over if edit.put is not None and f.record.kind == edit.put.kind), None)
            for gone in edit.over:
                if gone is not kept:  # a CNAME stands alone at its name: away with it first
                    self._delete(zone, gone.record)
            if edit.put is not None and kept is not None:
                self._change(zone, edit.put, kept)
            elif edit.put is not None:
                self._create(zone, edit.put)

    # --- one set ---------------------------------------------------------------------------------------------------

    def _create(self, zone: BoundZone, record: Record) -> None:
        from hcloud.zones import ZoneRecord

        name = relative(record.name, self.dns.zone)

        def make() -> list[Any]:
            made = self._api.client.zones.create_rrset(
                zone,
                name=name,
                type=record.kind,
                ttl=record.ttl,
                labels=labels(self.node),
                records=[ZoneRecord(value) for value in record.values],
            )
            return [made.action]

        def find() -> list[Any] | None:
            """Made by the request whose answer was lost: there is nothing to wait for that anybody knows."""
            found = [self._found(row, 0) for row in self._sets(zone, {"name": name}) if row.type == record.kind]
            return [] if any(f.owner == self.node and f.record.values == record.values for f in found) else None

        step = f"create {record}"
        for action in self._api.create(step, make, find):
            self._finish(step, action)

    def _change(self, zone: BoundZone, record: Record, before: Found) -> None:
        """The mark first: killed in between, the next run knows the set for its own."""
        from hcloud.zones import ZoneRecord

        step, client, row = f"change {record}", self._api.client.zones, self._reference(zone, record)
        if before.owner != self.node:
            self._api.call(step, lambda: client.update_rrset(row, labels=labels(self.node)))
        if before.record.values != record.values:
            values = [ZoneRecord(value) for value in record.values]
            self._finish(step, self._api.call(step, lambda: client.set_rrset_records(row, values)))
        if before.record.ttl != record.ttl:
            self._finish(step, self._api.call(step, lambda: client.change_rrset_ttl(row, record.ttl)))

    def _delete(self, zone: BoundZone, record: Record) -> None:
        step, row = f"delete {record}", self._reference(zone, record)
        try:
            answer = self._api.call(step, lambda: self._api.client.zones.delete_rrset(row))
        except Refused as error:
            if error.code != "not_found":
                raise
            return
        self._finish(step, answer.action)

    def _reference(self, zone: BoundZone, record: Record) -> Any:
        from hcloud.zones import ZoneRRSet

        return ZoneRRSet(name=relative(record.name, self.dns.zone), type=record.kind, zone=zone)

    def _found(self, row: BoundZoneRRSet, default: int) -> Found:
        kind = next(kind for kind in KINDS if kind == row.type)
        values = tuple(sorted(value_of(kind, item.value, self.dns.zone) for item in row.records or ()))
        name = absolute(str(row.name), self.dns.zone)
        has: Mapping[str, str] = row.labels or {}
        owner = has.get(NODE_LABEL, "") if has.get(MANAGER_LABEL) == MANAGER else ""
        return Found(Record(name, kind, values, int(row.ttl or default)), owner)

    # --- the API ---------------------------------------------------------------------------------------------------

    @property
    def _api(self) -> Transport:
        if self._transport is None:
            self._transport = Transport(self.node, self.dns.endpoint, self.token, self.patience)
        return self._transport

    def _zone(self) -> BoundZone:
        step = f"look at {self.dns.zone}"
        found = self._api.call(step, lambda: self._api.client.zones.get_all(name=self.dns.zone))
        if not found:
            there = self._api.call(step, self._api.client.zones.get_all)
            raise missing_zone(self.node, self.dns.zone, [str(zone.name) for zone in there])
        return found[0]

    def _sets(self, zone: BoundZone, asked: dict[str, str]) -> list[BoundZoneRRSet]:
        step = f"look at {self.dns.zone}"
        return self._api.call(step, lambda: self._api.client.zones.get_rrset_all(zone, **asked))  # type: ignore[arg-type]

    def _finish(self, step: str, action: Any) -> None:
        from hcloud.actions import ActionFailedException, ActionTimeoutException

        try:
            self._api.call(step, lambda: action.wait_until_finished(ACTION_SECONDS))
        except ActionFailedException as error:
            said: Mapping[str, Any] = error.action.error or {}
            reason = str(said.get("message", "the API did not carry it out"))
            raise StepError(self.node, step, reason, "run the same command again") from None
        except ActionTimeoutException:
            raise DeadlineError(self.node, step, ACTION_SECONDS, "the API still is at it") from None


def relative(name: str, zone: str) -> str:
    """A name as the API has it.

    >>> relative("*.bids.example.org", "example.org"), relative("example.org", "example.org")
    ('*.bids', '@')
    """
    return "@" if name == zone else name.removesuffix(f".{zone}")


def absolute(name: str, zone: str) -> str:
    """The way back.

    >>> absolute("*.bids", "example.org"), absolute("@", "example.org")
    ('*.bids.example.org', 'example.org')
    """
    return zone if name == "@" else f"{name}.{zone}"


def value_of(kind: Kind, value: str, zone: str) -> str:
    """A value with its name whole and without its last dot.

    >>> value_of("CNAME", "www", "example.org"), value_of("CNAME", "www.example.net.", "example.org")
    ('www.example.org', 'www.example.net')
    """
    if kind != "CNAME":
        return value
    return value.removesuffix(".") if value.endswith(".") else absolute(value, zone)
