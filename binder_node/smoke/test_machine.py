"""Layer ``machine``: what the node stands on."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from binder_node import remote
from binder_node.host import disk, jobs, kernel, recording
from binder_node.host.buildkit import GUARD_UNIT
from binder_node.host.firewall import TABLE, table
from binder_node.host.logs import UNITS
from binder_node.host.observe import MANIFEST
from binder_node.host.state import MOUNTS
from binder_node.layout import API_PORT, BUILDKIT_STATE, HUB_STATE, MINIO_STATE
from binder_node.names import servers
from binder_node.smoke import judge_machine as judge
from binder_node.smoke.checks import Trouble, check, expect
from binder_node.spec.model import NodeStorage, Spec
from binder_node.spec.public import NoDns

SSH = "machine.ssh"
# A refused connection answers at once; a dropped one never does.
KNOCK_SECONDS, KNOCKS = 2.0, 32
# Components whose units have a limit of their own: those that people's requests go through.
BUSY = ("k3s", "buildkit", "minio", "registry")
# Filesystems of the system's own or of pods: they come and go, and have no room of their own.
PASSING = ("/dev", "/proc", "/run", "/sys", "/var/lib/kubelet/pods", "/run/k3s")
# Images that are always full: snaps, and the disc that a cloud gives its settings by.
PASSING_KINDS = ("overlay", "devtmpfs", "squashfs", "erofs", "iso9660", "efivarfs")


@check(SSH, "the machine lets us in, with its own host key, and as root")
def test_ssh(request: pytest.FixtureRequest) -> None:
    # Asked for here: what the fixtures raise is then this check's failure.
    access, host = request.getfixturevalue("access"), request.getfixturevalue("host")
    done = host.run("id -u")
    if done.stdout.strip() != "0":
        remedy = remote.let_become_root(access.user)
        expect(Trouble(f"{access.user} does not become root: {done.stderr.strip() or done.stdout.strip()}", remedy))


@check("machine.size", "cores, memory and disk are what the inventory says", needs=SSH)
def test_size(host: Any, spec: Spec) -> None:
    memory = judge.memory_of(host.check_output("cat /proc/meminfo"))
    space = int(host.check_output("df --output=size -B1 %s", str(spec.machine.state)).split()[-1])
    expect(
        judge.size("memory", spec.machine.memory, memory),
        judge.size("disk", spec.state_disk, space),
        judge.cores(spec.machine.cpus, int(host.check_output("nproc --all"))),
    )


# --- the kernel's settings -----------------------------------------------------------------------------------------


@check("machine.sysctls", "the kernel's limits and forwarding are as they should be now", needs=SSH, guide=8)
def test_sysctls(host: Any) -> None:
    paths = " ".join("/proc/sys/" + key.replace(".", "/") for key in kernel.SYSCTLS)
    # Exit status 2: one of them is not there, which a kernel without that module is allowed.
    expect(judge.sysctls(kernel.SYSCTLS, judge.proc_sys(host.run(f'grep -sH "" {paths}').stdout)))


@check("machine.sysctls-kept", "and will be after a reboot", needs=SSH, guide=8)
def test_sysctls_kept(host: Any) -> None:
    expect(judge.sysctls_kept(kernel.SYSCTLS, host.check_output("/lib/systemd/systemd-sysctl --cat-config")))


@check("machine.open-files", "no service runs out of open files", needs=SSH, guide=8)
def test_open_files(host: Any) -> None:
    units = " ".join(unit for component in BUSY for unit in UNITS[component] if unit != GUARD_UNIT)
    asked = (
        f"for unit in {units}; do pid=$(systemctl show -p MainPID --value $unit); "
        'test "$pid" -gt 0 && printf "%s\\t%s\\n" $unit "$(awk \'/^Max open files/ {print $4}\' /proc/$pid/limits)"; '
        "done; true"
    )
    expect(judge.open_files(judge.pairs(host.check_output(asked))))


# --- swap, clock, boot ---------------------------------------------------------------------------------------------


def in_container(host: Any) -> bool:
    """A container's kernel, swap and clock are its host's."""
    return bool(host.run("systemd-detect-virt --quiet --container").succeeded)


@check("machine.swap", "there is no swap, nor after a reboot", needs=SSH, guide=32)
def test_swap(host: Any) -> None:
    target = host.run("systemctl is-enabled swap.target").stdout.strip()
    expect(judge.swap(host.check_output("cat /proc/swaps"), target, in_container(host)))


@check("machine.clock", "its clock agrees with this computer's", needs=SSH)
def test_clock(host: Any) -> None:
    before = time.time()
    there = float(host.check_output("date +%s.%N"))
    expect(judge.clock((before, time.time()), there))


@check("machine.clock-kept", "something keeps its clock", needs=SSH)
def test_clock_kept(host: Any) -> None:
    services = ("systemd-timesyncd.service", *kernel.OTHER_CLOCKS)
    states = judge.unit_files(host.run(f"systemctl list-unit-files --plain --no-legend {' '.join(services)}").stdout)
    synchronised = host.run("timedatectl show -p NTPSynchronized --value").stdout.strip()
    expect(judge.clock_kept(states, synchronised, in_container(host)))


@check("machine.boot", "every unit of ours comes back at boot", needs=SSH, guide=32)
def test_boot(host: Any) -> None:
    units = json.loads(host.check_output(f"cat {MANIFEST}"))["units"]
    # A backslash is part of an escaped path's name, for systemctl's patterns as well.
    names = " ".join(shlex.quote(unit.replace("\\", "\\\\")) for unit in units)
    expect(
        judge.boot(units, judge.unit_files(host.run(f"systemctl list-unit-files --plain --no-legend {names}").stdout))
    )


@check("machine.failed", "no unit of the machine's own has failed", needs=SSH, guide=13)
def test_failed(host: Any) -> None:
    units = json.loads(host.check_output(f"cat {MANIFEST}"))["units"]
    failed = host.check_output("systemctl list-units --state=failed --plain --no-legend")
    expect(judge.failed_units(failed, judge.with_checks(units, in_container(host))))


@check("machine.jobs", "what is done on a timer was done, and lately", needs=SSH, guide=13)
def test_jobs(host: Any, spec: Spec) -> None:
    # Backups have a check of their own (storage.backup), which looks for them in their bucket.
    own = [job for job in jobs.jobs(spec) if job.name != "backup"]
    if not own:
        pytest.skip("nothing else is done on a timer (deploy: federation)")
    show = "systemctl show -P"
    asked = [f"{show} ActiveState {job.timer}; {show} ActiveEnterTimestampMonotonic {job.timer}" for job in own]
    files = [f"cat {recording.folder(spec)}/{job.name}.json 2>/dev/null || echo null" for job in own]
    told = host.check_output("cut -d' ' -f1 /proc/uptime; " + "; ".join([*asked, *files])).splitlines()
    uptime, timers, records = float(told[0]), told[1 : 1 + 2 * len(own)], told[1 + 2 * len(own) :]
    found = [
        judge.Standing(
            job,
            jobs.ran(job.name, json.loads(records[number]) or {}),
            timers[2 * number],
            uptime - int(timers[2 * number + 1]) / 1e6,
        )
        for number, job in enumerate(own)
    ]
    expect(*judge.jobs(found, datetime.now(UTC), spec.name))


# --- filesystems ---------------------------------------------------------------------------------------------------


@check("machine.mounts", "all state lies on the state disk, nothing over it", needs=SSH, guide=6)
def test_mounts(host: Any, spec: Spec) -> None:
    state = str(spec.machine.state)
    below = [*MOUNTS.values(), *(() if spec.central else (BUILDKIT_STATE, HUB_STATE))]
    below += [MINIO_STATE] if isinstance(spec.storage, NodeStorage) else []
    paths = [state, *MOUNTS, *(f"{state}/{name}" for name in below)]
    # GNU stat: %d is the device's number, as st_dev has it; nothing for a path that is not there.
    seen = dict(judge.pairs(host.run(f"stat --printf '%n\\t%d\\n' {' '.join(paths)}").stdout))
    expect(judge.one_disk({path: seen.get(path, "") for path in paths}))


@check("machine.data-disk", "the state folder is on the node's own data disk", needs="machine.mounts", guide=6)
def test_data_disk(host: Any, spec: Spec) -> None:
    if spec.machine.data_disk is None:
        pytest.skip("the inventory names no machine.data_disk")
    # blkid reads the disk itself: findmnt's own UUID is udev's, which a container has not. Of several mounts at one
    # place the last is seen.
    found = f"disk=$(findmnt -no SOURCE --mountpoint {spec.machine.state} | tail -n 1)"
    asked = f'{found}; [ -z "$disk" ] || echo $disk $(blkid -o value -s UUID $disk)'
    source, _, uuid = host.run(asked).stdout.strip().partition(" ")
    expect(judge.data_disk(disk.uuid_of(spec.name), source, uuid.strip()))


@check("machine.room", "every filesystem has room, each by itself", needs="machine.mounts", guide=6)
def test_room(host: Any, spec: Spec) -> None:
    state = str(spec.machine.state)
    listed = host.run("df --output=target,source,fstype,size,avail,itotal,iavail -B1").stdout
    every = judge.mounts(listed)
    lasting = [
        mount
        for mount in every
        if mount.where == "/"
        or (mount.kind not in PASSING_KINDS and not any(_below(mount.where, passing) for passing in PASSING))
    ]
    # Where the state folder is no mount of its own, its filesystem still has the inventory's line.
    shown = judge.mounts(host.run(f"df --output=target,source,fstype,size,avail,itotal,iavail -B1 {state}").stdout)
    expect(judge.room(lasting, shown[0].where if shown else state, spec.buildkit.wait_below))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


# --- network -------------------------------------------------------------------------------------------------------


@check("machine.firewall", "the firewall is loaded, with every rule", needs=SSH, guide=27)
def test_firewall(host: Any, spec: Spec) -> None:
    done = host.run(f"nft -j list table inet {TABLE}")
    loaded = judge.rules_loaded(done.stdout) if done.succeeded else {}
    expect(judge.firewall(judge.rules_wanted(table(spec)), loaded))


@check("machine.outside", "from here only ssh and the web answer", needs="machine.firewall")
def test_firewall_outside(host: Any, spec: Spec, address: str) -> None:
    meant = {spec.ssh.port, 80, 443} | ({API_PORT} if spec.kubernetes.api_from else set())
    tried = sorted((judge.listening(host.check_output("ss -Hltn")) | set(judge.INNER_PORTS)) - meant)
    with ThreadPoolExecutor(max_workers=KNOCKS) as pool:
        answers = list(pool.map(lambda port: _answers(address, port), tried))
    expect(judge.from_outside([port for port, open_ in zip(tried, answers, strict=True) if open_], meant))


def _answers(address: str, port: int) -> bool:
    with socket.socket() as knock:
        knock.settimeout(KNOCK_SECONDS)
        return knock.connect_ex((address, port)) == 0


@check("machine.name", "it knows its own name whatever DNS says", needs=SSH)
def test_name(host: Any, spec: Spec, address: str) -> None:
    expect(judge.name(spec.name, host.run("getent ahostsv4 %s", spec.name).stdout, address))


@check("machine.public-names", "DNS has this machine's address for its public names", needs=SSH, guide=26)
def test_public_names(spec: Spec, address: str) -> None:
    # The member's name leads to the node whose place this one takes, until it is moved.
    names = (spec.names.hub,) if spec.replaces else (spec.names.binder, spec.names.hub)
    found = _said_by_servers(spec, names) or {name: _resolved(name) for name in names}
    if spec.dns.kind == "none" and not any(found.values()):
        pytest.skip("names are not the node's work (dns.kind: none), and DNS knows none")
    expect(judge.public_names(found, address))


def _said_by_servers(spec: Spec, names: Sequence[str]) -> dict[str, set[str]]:
    """What the name servers of the inventory say; empty where it names none: then everybody's resolver is asked."""
    if isinstance(spec.dns, NoDns) or not spec.dns.nameservers:
        return {}
    there, _ = servers.servers(spec.dns.nameservers, "", spec.names.binder)
    answers = servers.ask_all(there, names)
    return {name: {found for one in answers if one.name == name for found in one.addresses} for name in names}


def _resolved(name: str) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)}
    except OSError:
        return set()
