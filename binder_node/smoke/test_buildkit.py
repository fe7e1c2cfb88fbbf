"""Layer ``buildkit``: the image builder, without building."""

from __future__ import annotations

from typing import Any

import pytest

from binder_node.cluster.engine.files import engine_files
from binder_node.host.buildkit import GUARD_UNIT, UNIT
from binder_node.host.firewall import BRIDGE
from binder_node.host.observe import digest
from binder_node.layout import BUILDKIT_CNI_CONFIG, BUILDKIT_SOCKET, BUILDKIT_STATE, ENGINE_STATE
from binder_node.lifecycle.opened import Opened
from binder_node.smoke import judge_buildkit as judge
from binder_node.smoke.checks import CheckFailed, Trouble, check, expect
from binder_node.smoke.judge_versions import version
from binder_node.spec.model import Spec
from binder_node.upgrades.reported import Reported

BUILDCTL = f"buildctl --addr unix://{BUILDKIT_SOCKET} --timeout 10"
WORKER = "buildkit.worker"


@check("buildkit.unit", "buildkitd runs", needs="k3s.containerd")
def test_unit(host: Any, spec: Spec) -> None:
    state = host.run(f"systemctl is-active {UNIT}").stdout.strip()
    if state != "active":
        last = host.run(f"journalctl --no-pager -o cat -n 3 -u {UNIT}").stdout.strip()
        remedy = f"binder-node logs {spec.name} buildkit; `binder-node up` starts it"
        expect(Trouble(f"{UNIT} is {state}: {last}", remedy))


@check("buildkit.socket", "its socket is one", needs="buildkit.unit", guide=15)
def test_socket(host: Any) -> None:
    socket = host.file(str(BUILDKIT_SOCKET))
    if not socket.is_socket:
        kind = "a folder" if socket.is_directory else ("something else" if socket.exists else "missing")
        remedy = f"remove it and `systemctl restart {UNIT}`: a mount of what was not there made it"
        expect(Trouble(f"{BUILDKIT_SOCKET} is {kind}: build pods hang", remedy))


@pytest.fixture(scope="session")
def workers(host: Any) -> list[dict[str, Any]]:
    """What buildkitd says of itself; empty where it does not answer."""
    return judge.workers(host.run(f"{BUILDCTL} debug workers --format '{{{{json .}}}}'").stdout)


@check(WORKER, "buildkitd answers, with the worker that the inventory says", needs="buildkit.socket")
def test_worker(workers: list[dict[str, Any]], spec: Spec) -> None:
    expect(judge.worker(workers, spec.buildkit, spec.machine.arch))


@check("buildkit.version", "it is the BuildKit that is pinned", needs=WORKER)
def test_version(running: Reported, opened: Opened, spec: Spec) -> None:
    expect(version(running, "buildkit", opened.pins.entries, spec.name))


@check("buildkit.network", "build steps have a network of their own", needs=WORKER)
def test_network(workers: list[dict[str, Any]]) -> None:
    expect(judge.network(workers[0]))


@check("buildkit.bridge", "that network is as narrow and as isolated as it should be", needs="machine.ssh", guide=14)
def test_bridge(host: Any, spec: Spec) -> None:
    # Its ports are there while something is built; the bridge's own MTU follows theirs, and says nothing without them.
    asked = f"cd /sys/class/net/{BRIDGE}/brif && for port in *; do echo $port $(cat /sys/class/net/$port/mtu); done"
    found = [line.split() for line in host.run(asked).stdout.splitlines()]
    mtus = {fields[0]: fields[1] for fields in found if len(fields) == 2}  # one that is just going has none
    expect(judge.bridge(host.check_output(f"cat {BUILDKIT_CNI_CONFIG}"), spec.buildkit, mtus))


@check("buildkit.collector", "its cache's limit fits the disk that it lies on", needs=WORKER, guide=6)
def test_collector(host: Any, workers: list[dict[str, Any]], spec: Spec) -> None:
    space = host.check_output("df --output=size -B1 %s", f"{spec.machine.state}/{BUILDKIT_STATE}").split()[-1]
    expect(judge.collector(workers[0], spec.buildkit, int(space)))


@check("buildkit.cache", "its cache is collected", needs="buildkit.collector", guide=6)
def test_cache(host: Any, spec: Spec) -> None:
    done = host.run(f"{BUILDCTL} du --format '{{{{json .}}}}'", timeout=60)
    if done.failed:
        raise CheckFailed(f"buildctl du: {done.stderr.strip()}", f"see `binder-node logs {spec.name} buildkit`")
    expect(judge.cache_size(judge.total(done.stdout), spec.buildkit))


@check("buildkit.guard", "what a build may write is guarded", needs="machine.ssh", guide=9)
def test_guard(host: Any, spec: Spec) -> None:
    state = host.run(f"systemctl is-active {GUARD_UNIT}").stdout.strip()
    command = host.run(f"tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value {GUARD_UNIT})/cmdline").stdout
    expect(judge.guard(state, command, int(spec.buildkit.disk)))


@check("buildkit.engine", "what build pods are handed is what was put there", needs="machine.ssh")
def test_engine(host: Any, spec: Spec) -> None:
    folder = f"{spec.machine.state}/{ENGINE_STATE}"
    wanted = {f"{folder}/{path}": digest(content) for path, content in engine_files(spec).items()}
    lines = [line.split(None, 1) for line in host.run(f"sha256sum {' '.join(wanted)}").stdout.splitlines()]
    seen = {path.strip(): found for found, path in lines}
    program = f"{folder}/bin/buildctl"  # an artifact, known by its link
    lacking = None if host.run(f"test -x {program}").succeeded else Trouble(f"{program} is missing", judge.AGAIN)
    expect(judge.files(wanted, seen), lacking)
