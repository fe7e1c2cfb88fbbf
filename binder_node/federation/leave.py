"""Leaving a federation, one phase a change, in the one order in which no user falls through. Pure.

    prime    another member becomes prime, where this one is: all pages but launches are proxied to it
    quota    the member's quota 0: the redirector takes it out by itself within seconds; sessions go on to their end
    weight   weight 0: the redirector no longer asks it
    remove   the member's lines and files go

Each has to be deployed before the next one. A host is never null and the prime never without weight.
"""

from __future__ import annotations

from typing import Literal, get_args

from binder_node.errors import InputError, Problem
from binder_node.federation import checkout
from binder_node.federation.config import Federation
from binder_node.federation.entry import Entry
from binder_node.federation.register import Files, Made, folded, needed, own_values

Phase = Literal["prime", "quota", "weight", "remove"]
PHASES: tuple[Phase, ...] = get_args(Phase)


def exported(name: str) -> tuple[str, ...]:
    """The files of a member that the federation deploys; what it has below ``secrets/`` is a person's to remove."""
    return (own_values(name), f"config/k3s/{name}-kubelet.yaml", f"config/k3s/{name}-upgrade-plan.yaml")


def next_phase(files: Files, entry: Entry, config: str = checkout.PROD) -> Phase:
    """The first phase that has something to do, ``remove`` where nothing is left.

    Raises:
        InputError: the federation's file is not there, or the redirector would not take it.
    """
    there = checkout.federation(needed(files, config), config)
    member = next((one for one in there.members if one.name == entry.name), None)
    if member is None:
        return "remove"
    if member.prime:
        return "prime"
    if entry.central and _quota(files, entry) not in (0, None):
        return "quota"
    return "weight" if member.weight else "remove"


def leave(
    files: Files,
    guide: Files | None,
    entry: Entry,
    phase: Phase | None = None,
    heir: str = "",
    config: str = checkout.PROD,
) -> Made:
    """The change of the next phase; or of all phases up to ``phase``. ``heir`` is who becomes prime, the heaviest other
    member where it is empty.

    Raises:
        InputError: there is nobody else to be prime, or the redirector would choke on the result.
    """
    text = needed(files, config)
    last = phase or next_phase(files, entry, config)
    there = checkout.federation(text, config)
    member = next((one for one in there.members if one.name == entry.name), None)
    todo = PHASES[: PHASES.index(last) + 1]
    changed: dict[str, str | None] = {}
    notes: list[str] = []
    if member is not None and member.prime:
        text = checkout.set_prime(text, heir or heaviest(there, entry.name, config), config)
        heir = checkout.federation(text, config).prime.name
        notes.append(f"{heir} is prime then: all others are compared with its versions")
    if "quota" in todo and "remove" not in todo:
        changed |= _drained(files, entry, notes)
    if member is not None and "weight" in todo:
        text = checkout.set_weight(text, entry.name, 0, config)
    if "remove" in todo:
        return _removed(files, guide, entry, config, checkout.remove_host(text, entry.name, config), notes)
    if text != files[config]:
        changed[config] = text
    notes.append(f"deploy this before the next phase, {PHASES[PHASES.index(last) + 1]}")
    return Made(_sentence(last, entry.name, heir), changed, {}, tuple(notes))


def _sentence(phase: Phase, name: str, heir: str) -> str:
    return {
        "prime": f"Make {heir} prime instead of {name}",
        "quota": f"Drain {name}: quota 0",
        "weight": f"Take {name} out of rotation: weight 0",
        "remove": f"Remove {name} from the federation",
    }[phase]


def heaviest(there: Federation, leaving: str, config: str = checkout.PROD) -> str:
    """Who becomes prime where nobody is named: the first of the other members with the most weight.

    Raises:
        InputError: no other has any.
    """
    others = [member for member in there.routed if member.name != leaving]
    if not others:
        right = "a federation without a prime does not start: add a member first, or end the federation"
        raise InputError(Problem(config, there.lines.get(leaving, 0), leaving, "is the only member with weight", right))
    return max(others, key=lambda member: member.weight).name


def _quota(files: Files, entry: Entry) -> int | None:
    path = own_values(entry.name)
    return checkout.quota_of(files[path], path) if path in files else None


def _drained(files: Files, entry: Entry, notes: list[str]) -> dict[str, str | None]:
    path = own_values(entry.name)
    if not entry.central:
        notes.append("the quota is not in this checkout: `binder-node federation drain` sets it on the node")
        return {}
    if _quota(files, entry) is None:
        notes.append(f"{path} says no quota: set {'.'.join(map(str, checkout.QUOTAS[0]))} to 0 by hand")
        return {}
    text = checkout.set_quota(files[path], 0, path)
    return {path: text} if text != files[path] else {}


def _removed(files: Files, guide: Files | None, entry: Entry, config: str, host: str, notes: list[str]) -> Made:
    found = folded(files, guide, entry, put=False)
    changed: dict[str, str | None] = {**({config: host} if host != files[config] else {}), **found.files}
    notes += found.notes
    if entry.central:
        changed |= dict.fromkeys(path for path in exported(entry.name) if path in files)
        notes.append(f"secrets/config/{entry.name}.yaml, secrets/{entry.name}-kubeconfig.yaml: remove them by hand")
    if guide is None:
        notes.append("without --guide the user guide (jupyterhub/mybinder.org-user-guide) stays as it is")
    return Made(_sentence("remove", entry.name, ""), changed, found.guide, tuple(notes))
