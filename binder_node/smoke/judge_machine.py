"""What a machine shows, judged. Pure: texts and numbers in, a Trouble or None out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from binder_node.host.jobs import Job, Ran
from binder_node.layout import CACHE_PORT, MINIO_PORT, PULL_PORT, PUSH_PORT
from binder_node.smoke.checks import Trouble

AGAIN = "`binder-node up` puts it right"
GB = 10**9
# A seller's gigabyte and the kernel's own share: as much may be missing (host/stage.py warns at the same line).
SIZE_SHARE = 0.85
# Of these more is as good; of all others another value is wrong.
AT_LEAST = ("fs.inotify.max_user_instances", "fs.inotify.max_user_watches")
# S3 refuses a request that is 15 minutes off; logs and certificates are wrong long before. Seconds.
SKEW = 5.0
# Of the filesystem that pods and builds write to the inventory says the line; of any other: free bytes and share, the
# smaller of the two (journald keeps 15 % free by itself: journald.conf(5), SystemKeepFree=).
FREE_BYTES, FREE_SHARE = 1 * GB, 0.05
# The kubelet evicts at 5 % of inodes (host/k3s.py); a tenth is the last moment to hear of it.
INODE_SHARE = 0.10
# A unit without a limit of its own has 1024; 300 pods take containerd and K3s some ten each.
OPEN_FILES = 2**14
# Ports that a node's parts listen on, whatever `ss` says: K3s's (https://docs.k3s.io/installation/requirements),
# the kubelet's, containerd's metrics, ours.
INNER_PORTS = (2379, 2380, 6443, 6444, 8472, 10248, 10249, 10250, 10255, 10256, 10257, 10259, 1338, MINIO_PORT,
               PUSH_PORT, PULL_PORT, CACHE_PORT)  # fmt: skip
# Loads what our sysctls and our firewall stand on (host/kernel.py).
MODULES_UNIT = "systemd-modules-load.service"


# --- size ----------------------------------------------------------------------------------------------------------


def size(what: str, said: int, real: int) -> Trouble | None:
    """``said`` by the inventory, ``real`` on the machine: bytes, of which a seventh may be missing."""
    if real >= SIZE_SHARE * said:
        return None
    return Trouble(
        f"machine.{what} says {said / GB:.0f} GB, the machine has {real / GB:.1f} GB",
        f"correct machine.{what} in the inventory and run `binder-node up`: every limit follows from it",
    )


def cores(said: int, real: int) -> Trouble | None:
    if real >= said:
        return None
    return Trouble(f"machine.cpus says {said}, the machine has {real}", "correct it and run `binder-node up`")


def memory_of(meminfo: str) -> int:
    """Bytes, from /proc/meminfo."""
    line = next(line for line in meminfo.splitlines() if line.startswith("MemTotal:"))
    return int(line.split()[1]) * 1024


# --- the kernel's settings -----------------------------------------------------------------------------------------


def sysctls(wanted: Mapping[str, str], seen: Mapping[str, str]) -> Trouble | None:
    """Values in force. A key that this kernel has not is left alone, as `up` does."""
    wrong = [
        f"{key} is {seen[key]}, not {value}"
        for key, value in wanted.items()
        if key in seen and not _as_good(key, seen[key], value)
    ]
    return Trouble("; ".join(wrong), AGAIN) if wrong else None


def _as_good(key: str, seen: str, wanted: str) -> bool:
    return (seen.isdigit() and int(seen) >= int(wanted)) if key in AT_LEAST else seen == wanted


def proc_sys(text: str) -> dict[str, str]:
    """What ``grep -H "" /proc/sys/a/b ...`` printed: dotted key to value.

    >>> proc_sys("/proc/sys/net/ipv4/ip_forward:1")
    {'net.ipv4.ip_forward': '1'}
    """
    pairs = (line.partition(":") for line in text.splitlines())
    return {path.removeprefix("/proc/sys/").replace("/", "."): value.strip() for path, _, value in pairs}


def sysctls_kept(wanted: Mapping[str, str], files: str) -> Trouble | None:
    """Values at the next boot: ``files`` is what ``systemd-sysctl --cat-config`` prints, the later file winning."""
    at_boot: dict[str, tuple[str, str]] = {}
    file = ""
    for line in files.splitlines():
        if line.startswith("# /"):
            file = line[2:]
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", ";")):
            name = key.strip().removeprefix("-").strip().replace("/", ".")
            at_boot[name] = (value.strip(), file)
    wrong = []
    for key, value in wanted.items():
        found, where = at_boot.get(key, ("", ""))
        if not _as_good(key, found, value):
            wrong.append(f"{key} will be {found} ({where})" if found else f"nothing sets {key}")
    if not wrong:
        return None
    return Trouble(f"at the next boot {'; '.join(wrong)}", f"take it out of that file, or: {AGAIN}")


def open_files(limits: Iterable[tuple[str, str]]) -> Trouble | None:
    """``limits``: (unit, soft limit as /proc/PID/limits has it; empty: its process has just ended)."""
    low = {unit: soft for unit, soft in limits if soft.isdigit() and int(soft) < OPEN_FILES}
    if not low:
        return None
    shown = ", ".join(f"{unit}: {soft}" for unit, soft in low.items())
    return Trouble(f"open files are limited too low: {shown}", f"systemctl restart {' '.join(low)}")


# --- swap, clock, boot ---------------------------------------------------------------------------------------------


def swap(swaps: str, target: str, container: bool) -> Trouble | None:
    """``swaps`` is /proc/swaps (a container's is its host's), ``target`` the state of swap.target's unit file."""
    used = [] if container else [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]
    if used:
        return Trouble(
            f"swap is on: {', '.join(used)}", f"memory limits mean nothing beside it: swapoff -a, or {AGAIN}"
        )
    if target != "masked":
        return Trouble(f"swap would be on again after a reboot: swap.target is {target or 'not masked'}", AGAIN)
    return None


def clock(here: tuple[float, float], there: float) -> Trouble | None:
    """``here``: our own clock before and after the question, ``there`` the answer; seconds since the epoch."""
    early, late = here[0] - there, there - here[1]
    off = max(early, late)
    if off <= SKEW:
        return None
    side = "behind" if early > late else "ahead of"
    return Trouble(
        f"its clock is {off:.0f} s {side} this computer's",
        "see `timedatectl` on both: S3, certificates and tokens need the right time",
    )


def clock_kept(states: Mapping[str, str], synchronised: str, container: bool) -> Trouble | None:
    """``states`` of the services that could keep it; ``synchronised`` is timedatectl's yes or no."""
    if not any(state in ("enabled", "enabled-runtime") for state in states.values()):
        return Trouble("nothing keeps the clock: no time service is enabled", AGAIN)
    if not container and synchronised == "no":
        return Trouble("the clock is not synchronised", "see `timedatectl timesync-status`: is UDP 123 let out?")
    return None


def unit_files(text: str) -> dict[str, str]:
    """What ``systemctl list-unit-files --plain --no-legend`` printed: unit to state."""
    return {line.split()[0]: line.split()[1] for line in text.splitlines() if len(line.split()) > 1}


def boot(units: Collection[str], states: Mapping[str, str]) -> Trouble | None:
    """``units`` are ours; each comes back at boot, or is pulled in by one that does (static)."""
    missing = sorted(unit for unit in units if unit not in states)
    wrong = sorted(f"{unit} is {states[unit]}" for unit in units if states.get(unit) in ("disabled", "masked"))
    lost = [f"{unit} is not there" for unit in missing] + wrong
    return Trouble(f"a reboot would not bring everything back: {', '.join(lost)}", AGAIN) if lost else None


def with_checks(units: Iterable[str], container: bool) -> set[str]:
    """Those of the manifest's units that have checks of their own. The system's, which `up` restarts, have none; a
    container's modules are its host's."""
    return {unit for unit in units if not unit.startswith("systemd-") or (container and unit == MODULES_UNIT)}


def failed_units(text: str, ours: Collection[str]) -> Trouble | None:
    """``text`` of ``systemctl list-units --state=failed --plain --no-legend``; ``ours`` have checks of their own."""
    failed = [line.split()[0] for line in text.splitlines() if line.strip() and line.split()[0] not in ours]
    if not failed:
        return None
    return Trouble(
        f"failed: {', '.join(failed)}",
        f"see `journalctl -u {failed[0]}`; when that is mended, `systemctl reset-failed {failed[0]}`",
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A job, its last run, its timer's state, and for how many seconds that has been active."""

    job: Job
    ran: Ran
    timer: str
    waiting: float


def jobs(found: Iterable[Standing], now: datetime, node: str) -> Iterator[Trouble]:
    """What a timer starts has ended well, and lately; a timer that is young may not have come to it."""
    for one in found:
        job, ran, logs = one.job, one.ran, f"binder-node logs {node} {one.job.log}"
        if one.timer != "active":
            yield Trouble(f"the timer of the {job.about} is {one.timer}", f"binder-node up {node}")
        elif ran.ended is not None and not ran.well:
            times = f", {ran.failures} times" if ran.failures > 1 else ""
            yield Trouble(f"the last {job.about} failed ({ran.result}{times}): {ran.said}", logs)
        else:
            age = (now - ran.succeeded).total_seconds() if ran.succeeded is not None else one.waiting
            if min(age, one.waiting) > job.allowed:
                when = "never ended well" if ran.succeeded is None else f"was {age / 3600:.0f} hours ago"
                due = f"one is due every {job.every / 3600:g} hours"
                yield Trouble(f"the last {job.about} {when}; {due}", f"{logs}; systemctl list-timers")


# --- filesystems ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mount:
    """A filesystem where it is mounted; bytes and inodes, ``inodes`` 0 where it has no fixed number of them."""

    where: str
    source: str
    kind: str
    size: int
    free: int
    inodes: int
    inodes_free: int


def mounts(text: str) -> list[Mount]:
    """What ``df --output=target,source,fstype,size,avail,itotal,iavail -B1`` printed, without its first line."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) != 7 or not fields[3].isdigit():
            continue  # a name with blanks, or a filesystem without a size
        where, source, kind, *counts = fields
        size, free, inodes, inodes_free = (int(count) if count.isdigit() else 0 for count in counts)
        found.append(Mount(where, source, kind, size, free, inodes, inodes_free))
    return found


def room(seen: Iterable[Mount], state: str, wait_below: int) -> Trouble | None:
    """Every filesystem by itself: a full one stops what writes there, however empty the others are.

    ``state`` is the path of the state folder, ``wait_below`` the percentage below which builds wait.
    """
    full = []
    for mount in seen:
        share = wait_below / 100 if mount.where == state else FREE_SHARE
        least = share * mount.size if mount.where == state else min(share * mount.size, FREE_BYTES)
        if mount.size and mount.free < least:
            what = "builds wait" if mount.where == state else "nearly full"
            full.append(f"{mount.where}: {_bytes(mount.free)} free of {_bytes(mount.size)} ({what})")
        elif mount.inodes and mount.inodes_free < INODE_SHARE * mount.inodes:
            full.append(f"{mount.where}: {mount.inodes_free} inodes free of {mount.inodes}")
    if not full:
        return None
    return Trouble("; ".join(full), "see what is large there (`du -xh -d2 PATH | sort -h`); make room or a larger disk")


def _bytes(count: int) -> str:
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / 10**6:.1f} MB"


def one_disk(devices: Mapping[str, str]) -> Trouble | None:
    """``devices``: number of the filesystem by path, the state folder first; all others belong onto that one."""
    (state, wanted), *others = devices.items()
    astray = [f"{path} is on {number or 'nothing'}" for path, number in others if number != wanted]
    if not astray:
        return None
    return Trouble(
        f"{', '.join(astray)}, {state} on {wanted}",
        "something is mounted over it, or its own mount is missing: see `findmnt`, unmount it, `binder-node up`",
    )


def data_disk(wanted: str, source: str, uuid: str) -> Trouble | None:
    """``wanted`` UUID of the filesystem at the state folder; ``source`` and ``uuid`` of the one that is there."""
    if uuid == wanted:
        return None
    return Trouble(
        f"the state folder is on {source or 'the root disk'}, not on the data disk {wanted}",
        "is the volume attached? then `systemctl start` its mount unit, or run `binder-node up`",
    )


# --- network -------------------------------------------------------------------------------------------------------


def rules_wanted(text: str) -> dict[str, int]:
    """Rules by chain in a file for ``nft -f`` that :func:`binder_node.host.firewall.table` made."""
    counts: dict[str, int] = {}
    chain = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            chain = words[1]
            counts[chain] = 0
        elif words == ["}"]:
            chain = ""
        elif chain and words and words[0] != "type":
            counts[chain] += 1
    return counts


def rules_loaded(answer: str) -> dict[str, int]:
    """The same of ``nft -j list table``."""
    objects: list[dict[str, Any]] = json.loads(answer)["nftables"]
    counts = {entry["chain"]["name"]: 0 for entry in objects if "chain" in entry}
    for entry in objects:
        if "rule" in entry:
            counts[entry["rule"]["chain"]] += 1
    return counts


def firewall(wanted: Mapping[str, int], loaded: Mapping[str, int]) -> Trouble | None:
    """No chain has fewer rules than the inventory gives it. What somebody added shows in what is let in."""
    thin = [
        f"{chain} has {loaded.get(chain, 0)} of {count} rules"
        for chain, count in wanted.items()
        if loaded.get(chain, 0) < count
    ]
    if not thin:
        return None
    return Trouble(f"the firewall is not whole: {', '.join(thin)}", "systemctl restart binder-node-firewall")


def listening(text: str) -> set[int]:
    """Ports of ``ss -Hltn`` that are bound to more than loopback."""
    ports = set()
    for line in text.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if port.isdigit() and not address.strip("[]").startswith(("127.", "::1")):
            ports.add(int(port))
    return ports


def from_outside(reached: Collection[int], meant: Collection[int]) -> Trouble | None:
    """``reached``: ports that let us in; ``meant``: those that may."""
    open_ = sorted(set(reached) - set(meant))
    if not open_:
        return None
    return Trouble(
        f"open to the world: {', '.join(f'port {port}' for port in open_)}",
        "whose rule is it? `nft list ruleset`; ours are as they were after `systemctl restart binder-node-firewall`",
    )


def name(own: str, text: str, address: str) -> Trouble | None:
    """``text`` of ``getent ahostsv4 NAME``: an address at the start of each line. Debian's own 127.0.1.1 may be
    among them."""
    found = list(dict.fromkeys(line.split()[0] for line in text.splitlines() if line.strip()))
    if address in found:
        return None
    known = ", ".join(found) or "unknown"
    return Trouble(f"{own} is {known} there, the machine is {address}", f"see /etc/hosts; {AGAIN}")


def public_names(found: Mapping[str, Collection[str]], address: str) -> Trouble | None:
    """``found``: addresses that DNS has for each public name, none where it has none."""
    wrong = [
        f"{name} is {', '.join(sorted(addresses)) or 'unknown'}"
        for name, addresses in found.items()
        if set(addresses) != {address}
    ]
    if not wrong:
        return None
    return Trouble(f"DNS: {'; '.join(wrong)}; the machine is {address}", "correct the records, or wait out their TTL")


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Lines of two fields, parted by a tab."""
    for line in text.splitlines():
        first, tab, second = line.partition("\t")
        if tab:
            yield first, second.strip()
