"""Which records a node wants, and what has to be done to a zone for that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from binder_node.changes import Action
from binder_node.spec.model import Spec

Kind = Literal["A", "AAAA", "CNAME"]
# What leads a user somewhere: a node has IPv4, so that the other two beside its record would lead elsewhere.
KINDS: tuple[Kind, ...] = ("A", "AAAA", "CNAME")
# Asked for below `names.binder`, in place of the names that only the wildcard has.
ANY = "binder-node-probe"
UNKNOWN = "(the machine's address)"


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """All of one kind at a name: ``name`` without its last dot, ``values`` sorted, ``ttl`` in seconds."""

    name: str
    kind: Kind
    values: tuple[str, ...]
    ttl: int

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {shown(self.values)}"

    def line(self) -> str:
        """As a zone file has it."""
        return "\n".join(f"{self.name}. {self.ttl} IN {self.kind} {value}" for value in self.values)


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the zone; ``owner`` is the node whose mark it bears; ``ids`` are the API's own names for it."""

    record: Record
    owner: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """One name put right: ``over`` is what goes from there, ``put`` what comes; ``foreign`` is what of the former
    leads elsewhere and is not this node's."""

    put: Record | None
    over: tuple[Found, ...] = ()
    foreign: tuple[Found, ...] = ()

    @property
    def action(self) -> Action:
        if self.put is None:
            return "delete"
        return "update" if self.over else "create"

    @property
    def name(self) -> str:
        return self.put.name if self.put else self.over[0].record.name

    def __str__(self) -> str:
        if not self.over or self.put is None:
            return ", ".join(str(record) for record in ([self.put] if self.put else [f.record for f in self.over]))
        kinds = {found.record.kind for found in self.over}
        before = ", ".join(
            shown(found.record.values) if kinds == {"A"} else f"{found.record.kind} {shown(found.record.values)}"
            for found in self.over
        )
        if all(found.record.values == self.put.values for found in self.over) and kinds == {"A"}:
            return f"{self.put}, ttl {self.over[0].record.ttl} -> {self.put.ttl}"
        return f"A {self.put.name} {before} -> {shown(self.put.values)}"


def shown(values: Sequence[str]) -> str:
    return " ".join(values) or UNKNOWN


@dataclass(frozen=True, slots=True)
class Other:
    """The node whose place another takes, or takes back: what leads to its ``address`` is theirs to move."""

    name: str
    address: str


def mark(node: str) -> str:
    """What a record of ``node`` bears where its zone's API takes a remark."""
    return f"managed by binder-node {node}"


def owner_of(text: str) -> str:
    """The node in a remark; empty where it is not ours.

    >>> owner_of(mark("bids-1")), owner_of("by hand")
    ('bids-1', '')
    """
    before, found, node = text.partition(mark(""))
    return "" if before or not found else node.strip()


def below(name: str, parent: str) -> bool:
    """Whether ``*.parent`` stands for ``name``: at any depth (RFC 4592)."""
    return name.endswith(f".{parent}")


def wanted(spec: Spec, address: str, *, member: bool = True) -> tuple[Record, ...]:
    """The records that lead to the machine at ``address``; it is empty while nobody knows it.

    The hub has one of its own, so that running sessions stay where they are when the member's names are moved to
    another node. Without ``member`` these are another node's, and the hub's is all.
    """
    ttl = 300 if spec.dns.kind == "none" else spec.dns.ttl
    names = [*(_of_member(spec) if member else ()), spec.names.hub]
    if member and not below(spec.names.registry, spec.names.binder):
        names.append(spec.names.registry)
    return tuple(Record(name, "A", (address,) if address else (), ttl) for name in names)


def _of_member(spec: Spec) -> tuple[str, str]:
    return spec.names.binder, f"*.{spec.names.binder}"


def covered(spec: Spec) -> tuple[str, ...]:
    """Names for which the wildcard stands, unless the zone has records of their own."""
    return (spec.names.registry,) if below(spec.names.registry, spec.names.binder) else ()


def asked(spec: Spec, *, member: bool = True) -> tuple[str, ...]:
    """Names that must lead to the machine, one that only the wildcard has among them."""
    if not member:
        return (spec.names.hub,)
    return (spec.names.binder, spec.names.hub, spec.names.registry, f"{ANY}.{spec.names.binder}")


def targets(spec: Spec, found: Iterable[Found]) -> frozenset[str]:
    """Where the member's two records lead, each value; an empty text for one that is not there."""
    there = list(found)
    return frozenset(
        value
        for name in _of_member(spec)
        for value in ([v for f in there if f.record.name == name for v in f.record.values] or [""])
    )


def looks_after(spec: Spec, successor: str, address: str, found: Iterable[Found]) -> bool:
    """Whether the member's records are this node's to keep right, while another takes its place or it another's.

    A node that replaces another keeps them once they lead to it; one that ``successor`` replaces, until that one's
    mark is on them. So neither changes what the other has written.
    """
    there = list(found)
    if spec.replaces:
        return bool(address) and targets(spec, there) == {address}
    names = _of_member(spec)
    return not successor or all(f.owner != successor for f in there if f.record.name in names)


def edits(
    spec: Spec, address: str, found: Iterable[Found], *, member: bool = True, takes: Other | None = None
) -> tuple[Edit, ...]:
    """What to do to a zone in which ``found`` is; nothing when it already leads to the machine, whoever wrote that.

    A record of this node that no name of the Spec wants any more goes. What leads to ``takes`` is changed as if it
    were this node's.
    """
    there = list(found)
    records = wanted(spec, address, member=member)
    made = [edit for record in records if (edit := _put(record, there, spec.name, takes)) is not None]
    named = {*_of_member(spec), *(record.name for record in records), *covered(spec)}
    for name in covered(spec) if member else ():
        astray = tuple(f for f in there if f.record.name == name and not _leads(f, (address,)))
        if astray:
            made.append(Edit(None, astray, _foreign(astray, spec.name, takes)))
    stale = [f for f in there if f.owner == spec.name and f.record.name not in named]
    return (*made, *(Edit(None, (f,)) for f in sorted(stale, key=lambda f: f.record)))


def _put(record: Record, there: Sequence[Found], node: str, takes: Other | None) -> Edit | None:
    here = tuple(f for f in there if f.record.name == record.name)
    right = [f for f in here if _leads(f, record.values)]
    wrong = tuple(f for f in here if f not in right)
    if right and not wrong:
        ours = right[0].owner == node
        return Edit(record, here) if ours and right[0].record.ttl != record.ttl else None
    return Edit(record, here, _foreign(wrong, node, takes))


def _leads(found: Found, values: tuple[str, ...]) -> bool:
    return found.record.kind == "A" and found.record.values == values


def _foreign(found: Iterable[Found], node: str, takes: Other | None) -> tuple[Found, ...]:
    def ours(one: Found) -> bool:
        if takes is not None and (one.owner == takes.name or _leads(one, (takes.address,))):
            return True
        return one.owner == node

    return tuple(f for f in found if not ours(f))


def removals(node: str, found: Iterable[Found]) -> tuple[Edit, ...]:
    """What ``destroy`` does: all that bears the node's mark goes, and nothing else."""
    ours = sorted((f for f in found if f.owner == node), key=lambda f: f.record)
    return tuple(Edit(None, (f,)) for f in ours)
