"""A node that is lost with all that was on it, and made again from its backup: users, certificates, access, images."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binder_node.lifecycle.opened import access_of, open_bare, open_spec
from binder_node.secrets.agefile import opened
from binder_node.smoke import registry
from binder_node.smoke.checks import RESERVED
from tests.integration.binaries import binary
from tests.node.harness import PINS, Home, make_home
from tests.node.test_central import whoami
from tests.testbed.acme import Pebble
from tests.testbed.knot import KEY, SECRET, Knot

pytestmark = pytest.mark.node

NETWORK, NAME = "198.18.114", "omega"
BRIDGE, WORLD, NODE = f"{NETWORK}.1", f"{NETWORK}.10", f"{NETWORK}.20"
BINDER, HUB = f"{NAME}.test", f"hub.{NAME}.test"
S3_KEY, S3_SECRET = "registry-of-a-test", "secret-of-a-test"
DNS = f"{{kind: rfc2136, zone: {BINDER}, server: '{WORLD}', key: {KEY}, nameservers: ['{WORLD}'], wait: 20}}"
PEOPLE = ("ada", "grace", "jean")
# Users without a server are culled after ten minutes; the two machines of this test may take longer.
VALUES = "jupyterhub: {cull: {users: false}}\n"
MORE = f"""\
dns: {DNS}
kubernetes: {{operators: [ada], api_from: [0.0.0.0/0]}}
binderhub: {{values: [keep.yaml]}}
"""


def archive_of(home: Home, sealed: Path) -> dict[str, bytes]:
    """What is in a backup, by name."""
    clear = sealed.with_suffix(".tar.gz")
    clear.write_bytes(opened(sealed.read_bytes(), Path(home.environment["BINDER_NODE_IDENTITY"]), "the backup"))
    with tarfile.open(clear) as tar:
        return {member.name: (source.read() if (source := tar.extractfile(member)) else b"") for member in tar}


def eventually(found: Callable[[], object], wanted: object, seconds: float = 60) -> None:
    """Wait until it is as wanted; what keeps it from being asked at first is no failure yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            seen = found()
        except (OSError, AssertionError) as error:
            seen = error
        if seen == wanted:
            return
        assert time.monotonic() < deadline, f"{seen} is not {wanted}"
        time.sleep(1)


# --- on a node that is well ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backup:
    """What ``backup`` told, and the file that it was copied to."""

    told: dict[str, Any]
    file: Path


@pytest.fixture(scope="module")
def backup(home: Home) -> Backup:
    file = home.folder / "alpha.age"
    return Backup(json.loads(home.run("backup", "--file", str(file), "-o", "json").ok().out), file)


def smoke(home: Home) -> tuple[str, str]:
    """Outcome and reason of the check of backups."""
    seen = json.loads(home.run("smoke", "--only", "storage.backup", "-o", "json").out)
    (check,) = (one for one in seen["checks"] if one["id"] == "storage.backup")
    return check["outcome"], check["reason"]


def test_a_backup_that_fails_says_why_and_is_seen(home: Home) -> None:
    recipients = "/etc/binder-node/backup.recipients"
    home.ssh(f"cp -p {recipients} /root/recipients && truncate -s 0 {recipients}")
    try:
        failed = home.run("backup")
        assert failed.code == 1
        assert "no backup: age: error: " in failed.err
        outcome, reason = smoke(home)
        assert (outcome, "no backup: age: error: " in reason) == ("failed", True)
    finally:
        home.ssh(f"mv /root/recipients {recipients}")


def test_then_a_backup_is_made_listed_fetched_and_told(home: Home, backup: Backup) -> None:
    made = backup.told
    listed = json.loads(home.run("backup", "--list", "-o", "json").ok().out)["backups"]
    assert listed[-1]["name"] == made["name"]
    assert backup.file.stat().st_size == made["bytes"] == listed[-1]["bytes"]
    found = archive_of(home, backup.file)
    assert json.loads(found["about.json"])["node"] == home.name
    assert {"hub/jupyterhub.sqlite", "k3s/db/state.db", "k3s/token", "k3s/cred/encryption-config.json"} <= set(found)
    assert found["secrets.age"] == (home.folder / f"secrets/{home.name}.age").read_bytes()
    assert f"last backup 0.0 hours ago, {made['bytes'] / 1e6:.1f} MB" in home.run("status").ok().err
    assert smoke(home) == ("ok", "")


def test_a_node_that_has_something_is_left_alone(home: Home, backup: Backup) -> None:
    asked = "stat -c %i /var/lib/binder-node/hub/jupyterhub.sqlite"
    before = home.ssh(asked)
    refused = home.run("up", "--restore-from", str(backup.file))
    assert refused.code == 1
    assert "it is no bare machine, it has /var/lib/binder-node/hub/jupyterhub.sqlite" in refused.err
    assert home.ssh(asked) == before
    gone = home.run("up", "--restore")
    assert gone.code == 2
    assert "the bucket is on the machine itself" in gone.err


# --- a node that is lost -------------------------------------------------------------------------------------------


@dataclass
class Omega:
    """The node, its bucket elsewhere, its zone and its authority; these outlive the machine."""

    home: Home
    knot: Knot
    pebble: Pebble
    bucket: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The zone's server and the authority, in the world beside the machine: they go and come with its bridge."""
        self.home.world("up")
        self.knot.start()
        self.pebble.start(binary("pebble"))

    def stop(self) -> None:
        self.pebble.stop()
        self.knot.stop()
        self.home.world("down")

    def start_bucket(self) -> None:
        """On this computer's own address on the bridge: it hears again when the bridge is there again."""
        environment = {**os.environ, "MINIO_ROOT_USER": S3_KEY, "MINIO_ROOT_PASSWORD": S3_SECRET}
        command = [
            str(binary("minio")),
            "server",
            "--quiet",
            "--address",
            f"{BRIDGE}:9000",
            str(self.home.folder / "s3"),
        ]
        with (self.home.folder / "minio.log").open("wb") as log:
            self.bucket = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as knock:
                if knock.connect_ex((BRIDGE, 9000)) == 0:
                    return
            assert time.monotonic() < deadline, (self.home.folder / "minio.log").read_text()
            time.sleep(0.1)

    def stop_bucket(self) -> None:
        if self.bucket is not None:
            self.bucket.terminate()
            self.bucket.wait(20)

    def hub(self, method: str, path: str) -> Any:
        """The hub's API, as BinderHub."""
        node = open_bare(open_spec(str(self.home.inventory), Path(PINS)))
        header = f"Authorization: token {node.secrets.binder_api_token.reveal()}"
        argv = ["curl", "-sS", "--fail-with-body", "-X", method, "-H", "@-", f"https://{HUB}/hub/api{path}"]
        argv += ["--resolve", f"{HUB}:443:{NODE}", "--cacert", str(self.pebble.authority)]
        done = subprocess.run(argv, input=header, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout or "null")

    def state(self) -> tuple[dict[str, str], list[bytes], int]:
        """The hub's users (when each was made, by name), the certificates shown, and how many were ever ordered."""
        users = {user["name"]: user["created"] for user in self.hub("GET", "/users")}
        return users, self.pebble.shown(NODE, (BINDER, HUB)), self.pebble.orders()


@pytest.fixture(scope="module")
def omega(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Omega]:
    folder = tmp_path_factory.mktemp("backup")
    storage = f"{{kind: s3, endpoint: 'http://{BRIDGE}:9000', bucket: registry}}"
    home = make_home(folder, NAME, NETWORK, storage=storage, more=MORE)
    (home.inventory.parent / "keep.yaml").write_text(VALUES)
    within = ("nsenter", f"--net=/run/netns/world-{NAME}")
    made = Omega(
        home,
        Knot(folder / "knot", WORLD, 53, {BINDER: []}, within),
        Pebble(folder / "pebble", WORLD, f"{WORLD}:53", within),
    )
    made.pebble.prepare()
    authority, directory = made.pebble.authority, made.pebble.directory
    tls = f"{{mode: acme, email: ops@example.org, directory: '{directory}', authority: '{authority}'}}"
    home.inventory.write_text(home.inventory.read_text().replace("tls: {mode: none}", f"tls: {tls}"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            if name.startswith("BINDER_NODE_"):
                patch.setenv(name, value)
        patch.setenv("RFC2136_TSIG_SECRET", SECRET)
        patch.setenv("BINDER_NODE_S3_ACCESS_KEY", S3_KEY)
        patch.setenv("BINDER_NODE_S3_SECRET_KEY", S3_SECRET)
        try:
            assert home.up().code != 0  # the names' server comes with the bridge
            made.start()
            made.start_bucket()
            home.up().ok()
            yield made
        finally:
            made.stop()
            home.run("destroy", "--yes", home.name)
            made.stop_bucket()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_made_again_from_its_backup_it_is_what_it_was(omega: Omega, tmp_path: Path) -> None:
    home = omega.home
    for one in PEOPLE:
        omega.hub("POST", f"/users/{one}")
    operator = tmp_path / "ada.yaml"
    home.run("kubeconfig", "--operator", "ada", "--file", str(operator)).ok()
    opened_ = open_spec(str(home.inventory), Path(PINS))
    node, access = open_bare(opened_), access_of(opened_)[0]
    image = registry.fresh_image(f"{RESERVED}/kept", "amd64")
    pushed = registry.ask(node, access, [], image)["pushed"]
    assert pushed.status == 201, pushed
    before = omega.state()
    assert set(PEOPLE) <= set(before[0])
    file = tmp_path / "omega.age"
    made = json.loads(home.run("backup", "--file", str(file), "-o", "json").ok().out)
    assert made["where"] == f"registry at http://{BRIDGE}:9000"

    # The machine with all that it had, and what this computer knew of it; the operator's identity is left.
    home.run("destroy", "--yes", home.name).ok()
    omega.stop()
    (home.folder / f"secrets/{home.name}.age").unlink()
    assert home.run("up", "--restore-from", str(file)).code != 0  # the machine is there, its names' server is not
    omega.start()
    done = home.run("up", "--restore-from", str(file), "-o", "json").ok()
    told = [event["message"] for event in done.events if event["kind"] == "change"]
    assert any("put back backup omega.age, taken " in text for text in told)
    # The authority's new root is mounted into Traefik, which is started anew for it.
    eventually(omega.state, before)
    access = access_of(opened_)[0]
    path = f"/v2/{image.repository}/manifests/{image.digest}"
    ask = registry.Ask("again", "pull", "pull", path, accept=registry.MANIFEST)
    pulled = registry.ask(open_bare(opened_), access, [ask])["again"]
    assert pulled.sha256 == image.digest
    assert whoami(operator) == "system:serviceaccount:binder-node-operators:ada"
    assert home.up().ok().last["data"]["changes"] == 0
    # The same command again: it is done, though the bucket may have a younger one by now.
    younger = json.loads(home.run("backup", "-o", "json").ok().out)
    assert home.run("up", "--restore", "-o", "json").ok().last["data"]["changes"] == 0
    assert json.loads(home.ssh("cat /etc/binder-node/restored.json"))["name"] == "omega.age"
    listed = [one["name"] for one in json.loads(home.run("backup", "--list", "-o", "json").ok().out)["backups"]]
    assert (listed[0], listed[-1]) == (made["name"], younger["name"])
