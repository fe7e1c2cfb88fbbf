"""The host stage on a real machine: systemd, sshd, MinIO and both registries; everything but Kubernetes."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binder_node import remote
from binder_node.artifacts.model import Artifact
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, silent
from binder_node.host.observe import MANIFEST
from binder_node.host.stage import HostStage
from binder_node.host.wanted import Component, File, Wanted
from binder_node.node import Access, Node
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from binder_node.storage.stage import StorageStage
from tests.integration.binaries import binary
from tests.integration.stages import up
from tests.node.harness import make_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make machines"),
]

OURS = ("minio.service", "registry-push.service", "registry-pull.service", "binder-node-firewall.service")
ENGINE = {"etc/repo2docker.py": b"c = None\n"}


def artifact(name: str) -> Artifact:
    path = binary(name)
    return Artifact(name, "v0", path, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Access]]:
    home = tmp_path_factory.mktemp("h7")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDER_NODE_LOCAL_DIR", str(home / "machines"))
        inventory = make_home(home, "h7m", "198.18.7").inventory
        runtime = home / "run"
        runtime.mkdir()
        artifacts = {name: artifact(name) for name in ("minio", "registry", "buildctl")}
        # What is left out of `wanted` below is never sent.
        others = (
            "k3s", "buildkitd", "cni-bridge", "cni-host-local", "cni-loopback", "age", "prometheus", "alertmanager",
            "node-exporter",
        )  # fmt: skip
        artifacts |= {name: replace(artifacts["buildctl"], name=name) for name in others}
        made = Node(load(inventory), generate(), artifacts, {}, runtime)
        provider = LocalMachine(made)
        try:
            provider.apply(provider.inspect(silent), silent)
            access = provider.access(provider.inspect(silent))
            assert access is not None
            yield made, access
        finally:
            provider.destroy(silent)


def stage_of(node: tuple[Node, Access], *more: Component) -> HostStage:
    """The stage without what has tests of its own, Kubernetes first; ``more`` replaces by name."""
    made, access = node
    stage = HostStage(made, access, access.address, "", ENGINE)
    others = ("k3s", "buildkit", "backup", "metrics")
    kept = [component for component in stage.wanted.components if component.name not in others]
    changed = {component.name: component for component in more}
    components = tuple(changed.pop(component.name, component) for component in kept)
    stage.__dict__["wanted"] = Wanted(stage.wanted.node, (*components, *changed.values()))
    return stage


def on(node: tuple[Node, Access], script: str) -> str:
    return remote.run(node[1], script).stdout.strip()


def invocations(node: tuple[Node, Access]) -> dict[str, str]:
    """Which start of each unit this is."""
    return {unit: on(node, f"systemctl show -P InvocationID {unit}") for unit in OURS}


@pytest.fixture(scope="module")
def ready(node: tuple[Node, Access]) -> tuple[Node, Access]:
    up(stage_of(node))
    storage = StorageStage(*node)
    storage.apply(storage.inspect(silent), silent)
    return node


def test_a_bare_machine_becomes_what_is_wanted_and_then_nothing_is_to_do(ready: tuple[Node, Access]) -> None:
    began = time.monotonic()
    assert up(stage_of(ready)) == []
    assert time.monotonic() - began < 1.5
    assert on(ready, f"systemctl is-active {' '.join(OURS)}").split() == ["active"] * len(OURS)
    assert on(ready, f"systemctl is-enabled {' '.join(OURS)}").split() == ["enabled"] * len(OURS)
    assert on(ready, "getent hosts registry.h7m.test").split()[0] == "127.0.0.1"
    assert on(ready, "findmnt -n -o TARGET /var/lib/rancher") == "/var/lib/rancher"
    assert on(ready, "sysctl -n fs.inotify.max_user_instances") == "8192"


def test_secrets_are_roots_and_their_services_alone(ready: tuple[Node, Access]) -> None:
    readable = on(ready, "setpriv --reuid=65534 --clear-groups cat /etc/binder-node/* 2>/dev/null || true")
    for value in ready[0].secrets.minio_root_password, ready[0].secrets.s3_secret_key:
        assert value.reveal() not in readable
    arguments = on(ready, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert ready[0].secrets.minio_root_password.reveal() not in arguments


def status(node: tuple[Node, Access], port: int, user: str, password: str, method: str, path: str) -> int:
    """What the registry answers on the machine's loopback."""
    script = (
        "import sys, base64, urllib.request as u, urllib.error as e\n"
        "user, password = sys.stdin.read().split()\n"
        "head = {'Authorization': 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()}\n"
        f"ask = u.Request('http://127.0.0.1:{port}{path}', method='{method}', headers=head)\n"
        "try: print(u.urlopen(ask).status)\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    return int(remote.run(node[1], f'python3 -c "{script}"', input=f"{user} {password}").stdout)


def test_who_may_pull_cannot_push_wherever_he_asks(ready: tuple[Node, Access]) -> None:
    push, pull = ready[0].secrets.registry_push_password, ready[0].secrets.registry_pull_password
    uploads = "/v2/binder/x/blobs/uploads/"
    assert status(ready, 5000, "push", push.reveal(), "POST", uploads) == 202
    assert status(ready, 5000, "pull", pull.reveal(), "POST", uploads) == 401
    assert status(ready, 5001, "pull", pull.reveal(), "POST", uploads) == 405
    assert status(ready, 5001, "push", push.reveal(), "POST", uploads) == 401
    assert status(ready, 5001, "pull", pull.reveal(), "GET", "/v2/") == 200
    assert status(ready, 5001, "pull", pull.reveal(), "GET", "/v2/binder/x/manifests/none") == 404


def test_a_changed_file_restarts_its_own_unit_alone(ready: tuple[Node, Access]) -> None:
    before = invocations(ready)
    on(ready, "echo '# by hand' >> /etc/binder-node/registry-push.yaml")
    changes = up(stage_of(ready))
    path = "/etc/binder-node/registry-push.yaml"
    assert [change.what for change in changes] == [f"registry: {path}", f"registry-push.service: {path} changes"]
    after = invocations(ready)
    assert [unit for unit in OURS if before[unit] != after[unit]] == ["registry-push.service"]
    assert up(stage_of(ready)) == []


def test_an_up_whose_pyinfra_is_killed_goes_on_where_it_was(ready: tuple[Node, Access]) -> None:
    on(ready, "echo >> /etc/binder-node/firewall.nft; echo >> /etc/binder-node/minio.env; rm /usr/local/bin/registry")

    def kill(event: Event) -> None:
        if event.message == "minio: files":
            found = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "host.child"], capture_output=True, text=True
            )
            for pid in found.stdout.split():
                os.kill(int(pid), signal.SIGKILL)

    stage = stage_of(ready)
    seen = stage.inspect(silent)
    with pytest.raises(StepError) as failed:
        stage.apply(seen, kill)
    # As far as it came before the signal.
    assert failed.value.step in ("minio: files", "registry: files", "start units")
    left = [change.what for change in stage.changes(stage.inspect(silent))]
    assert any("firewall.nft changed after it was started" in what for what in left)
    assert up(stage) != []
    assert up(stage) == []
    assert on(ready, f"systemctl is-active {' '.join(OURS)}").split() == ["active"] * len(OURS)


def test_an_artifact_that_is_not_what_its_digest_says_never_gets_its_name(ready: tuple[Node, Access]) -> None:
    stage = stage_of(ready)
    minio = stage.wanted.component("minio")
    wrong = replace(minio.uploads[0], artifact=replace(minio.uploads[0].artifact, sha256="ab" * 32))
    stage = stage_of(ready, replace(minio, uploads=(wrong,)))
    with pytest.raises(StepError, match="another digest"):
        up(stage)
    assert on(ready, "ls -A /opt/binder-node/store | grep -c 'part\\|abab' || true") == "0"
    assert up(stage_of(ready)) == []


def test_a_truncated_artifact_is_named(ready: tuple[Node, Access], tmp_path: Path) -> None:
    stage = stage_of(ready)
    minio = stage.wanted.component("minio")
    short = tmp_path / "minio"
    short.write_bytes(b"half")
    wrong = replace(minio.uploads[0], artifact=replace(minio.uploads[0].artifact, path=short, sha256="cd" * 32))
    with pytest.raises(StepError, match="has 4 bytes, not "):
        up(stage_of(ready, replace(minio, uploads=(wrong,))))


def test_leftovers_of_an_older_version_go(ready: tuple[Node, Access]) -> None:
    old = Component(
        "old",
        files=(File("/etc/binder-node/old.conf", b"old\n"),),
        units=(
            replace(
                stage_of(ready).wanted.component("firewall").units[0],
                name="binder-node-old.service",
                content="[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
                restart_on=(),
            ),
        ),
    )
    before = invocations(ready)
    up(stage_of(ready, old))
    assert on(ready, "systemctl is-active binder-node-old.service") == "active"
    assert [change.what for change in up(stage_of(ready))] == [
        "unit binder-node-old.service, no longer wanted",
        "/etc/binder-node/old.conf, no longer wanted",
        "/etc/systemd/system/binder-node-old.service, no longer wanted",
    ]
    assert on(ready, "systemctl show -P LoadState binder-node-old.service") == "not-found"
    assert on(ready, f"ls /etc/binder-node | grep old; grep old {MANIFEST} || true") == ""
    assert up(stage_of(ready)) == []
    assert invocations(ready) == before


def test_a_unit_that_does_not_start_is_named_with_its_last_lines(ready: tuple[Node, Access]) -> None:
    minio = stage_of(ready).wanted.component("minio")
    (unit,) = minio.units
    assert unit.content is not None
    broken = unit.content.replace("--quiet", "--no-such-option")
    with pytest.raises(StepError) as failed:
        up(stage_of(ready, replace(minio, units=(replace(unit, content=broken),))))
    assert failed.value.step == "start minio.service"
    assert "no-such-option" in failed.value.reason
    assert failed.value.remedy == "more with `binder-node logs h7m minio`"
    up(stage_of(ready))


def test_a_unit_that_starts_and_never_answers_is_named(ready: tuple[Node, Access]) -> None:
    registry = stage_of(ready).wanted.component("registry")
    push, pull = registry.units
    assert push.content is not None
    lines = [
        "ExecStart=/bin/sleep infinity" if line.startswith("ExecStart=") else line for line in push.content.splitlines()
    ]
    deaf = replace(push, content="\n".join(lines) + "\n", deadline=1.0)
    with pytest.raises(DeadlineError, match=r"registry-push\.service \(tcp 5000\)"):
        up(stage_of(ready, replace(registry, units=(deaf, pull))))
    up(stage_of(ready))


def test_a_folder_in_the_way_is_said_and_kept(ready: tuple[Node, Access]) -> None:
    on(ready, "rm /usr/local/bin/minio && mkdir -p /usr/local/bin/minio/mine")
    with pytest.raises(StepError, match="is in the way: it is a folder"):
        up(stage_of(ready))
    on(ready, "rmdir /usr/local/bin/minio/mine /usr/local/bin/minio")
    up(stage_of(ready))


def test_stopped_services_are_started_and_nothing_else_happens(ready: tuple[Node, Access]) -> None:
    on(ready, "systemctl stop minio registry-push registry-pull")
    assert {change.action for change in up(stage_of(ready))} == {"start"}
    assert up(stage_of(ready)) == []
