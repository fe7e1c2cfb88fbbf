"""The smoke checks on a node: green when it is well, and of each failure the check that it is for, and no other."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from binder_node.lifecycle.opened import access_of, open_bare, open_spec
from binder_node.smoke.checks import catalogue, needed
from binder_node.smoke.judge_storage import OWN
from binder_node.storage.endpoint import admin, client
from binder_node.storage.policy import POLICY_NAME, scoped
from binder_node.storage.probe import PREFIX
from binder_node.storage.stage import StorageStage
from tests.node.harness import PINS, Home, Ran
from tests.node.smoke_faults import FATAL, LOUD, OVERFULL, QUIET, SCHEDULER, Fault, together

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("still")]

CHECKS = {item.id: item for item in catalogue()}
# A node that is well, on the testbed (seconds).
SHALLOW_SECONDS = 60.0
# The registries' and the hub's own looks at what they stand on come every ten seconds.
GREEN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a run told: outcome by check."""

    ran: Ran
    document: dict[str, Any]

    @property
    def failed(self) -> dict[str, str]:
        return {entry["id"]: entry["reason"] for entry in self.document["checks"] if entry["outcome"] == "failed"}

    @property
    def blocked(self) -> set[str]:
        return {entry["id"] for entry in self.document["checks"] if entry["outcome"] == "blocked"}

    def only(self, *ids: str) -> None:
        """Exactly these failed, each with a remedy, and what stands on them was not run."""
        assert self.failed.keys() == set(ids), self.failed
        assert not [
            entry["id"] for entry in self.document["checks"] if entry["outcome"] == "failed" and not entry["remedy"]
        ]
        ran = {entry["id"] for entry in self.document["checks"]}
        assert self.blocked == {id for id in ran if needed(CHECKS, id) & set(ids)} - set(ids)
        assert self.ran.code == 1


def smoke(home: Home, *words: str) -> Told:
    ran = home.run("smoke", "-o", "json", *words)
    assert ran.code in (0, 1), ran.shown
    return Told(ran, json.loads(ran.out))


def on_node(home: Home, script: str) -> None:
    home.ssh(f"export NODE={home.name} ADDRESS={home.network}.20\n{script}", timeout=180)


@contextmanager
def injected(home: Home, fault: Fault) -> Iterator[None]:
    try:
        on_node(home, fault.inject)
        yield
    finally:
        on_node(home, fault.mend)


# --- a node that is well -------------------------------------------------------------------------------------------


def test_a_node_that_is_well_is_green_by_both_doors(home: Home) -> None:
    ours, theirs = home.folder / "ours.xml", home.folder / "theirs.xml"
    told = smoke(home, "--junit", str(ours))
    assert told.ran.code == 0, told.failed
    assert told.document["ok"]
    assert told.document["seconds"] < SHALLOW_SECONDS
    plain = [sys.executable, "-m", "pytest", "--pyargs", "binder_node.smoke", "--node", str(home.inventory)]
    done = subprocess.run(
        [*plain, "--junit-xml", str(theirs), "-q", "-p", "no:cacheprovider"],
        cwd=home.folder,
        env=home.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    first, second = (JUnitXml.fromfile(str(file)) for file in (ours, theirs))
    assert first.tests == second.tests == len(told.document["checks"])
    assert (first.failures, first.errors) == (second.failures, second.errors) == (0, 0)


# --- one that is not -----------------------------------------------------------------------------------------------


def test_many_small_failures_at_once_are_each_seen(home: Home) -> None:
    """Many things are wrong; `make soak` puts them in one by one."""
    every = together(QUIET)
    with injected(home, every):
        told = smoke(home)
    told.only(*every.checks)


@pytest.mark.parametrize("faults", LOUD, ids=lambda faults: together(faults).name)
def test_failures_of_what_others_stand_on(home: Home, faults: tuple[Fault, ...]) -> None:
    """What stands on them is blocked by them, and by nothing else."""
    every = together(faults)
    with injected(home, every):
        told = smoke(home)
    told.only(*every.checks)


@pytest.mark.soak
@pytest.mark.parametrize(
    "fault", [*QUIET, *(fault for faults in LOUD for fault in faults), *FATAL], ids=lambda fault: fault.name
)
def test_a_failure_is_seen_by_its_own_check_alone(home: Home, fault: Fault) -> None:
    with injected(home, fault):
        told = smoke(home)
    told.only(*fault.checks)


def test_another_version_than_the_pinned_one(home: Home, tmp_path: Path) -> None:
    pins = tmp_path / "pins.toml"
    pins.write_text(Path(PINS).read_text().replace('version = "v1.35.4+k3s1"', 'version = "v1.35.5+k3s1"'))
    told = smoke(home, "--pins", str(pins))
    told.only("k3s.version")
    assert "v1.35.4+k3s1, the pins say v1.35.5+k3s1" in told.failed["k3s.version"]


@contextmanager
def saying(home: Home, more: str) -> Iterator[None]:
    """The inventory with ``more`` at its end, which no `up` has brought to the node."""
    kept = home.inventory.read_text()
    home.inventory.write_text(f"{kept}{more}\n")
    try:
        yield
    finally:
        home.inventory.write_text(kept)


def test_more_pods_than_the_node_was_given_addresses_for(home: Home) -> None:
    """A node keeps the network that it got when it was made."""
    with saying(home, "kubernetes: {max_pods: 300}"):
        told = smoke(home, "--only", "k3s.pods,k3s.pod-addresses")
    told.only("k3s.pods", "k3s.pod-addresses")
    assert "the node has 254 pod addresses" in told.failed["k3s.pod-addresses"]


def by_names(home: Home, hosts: str) -> dict[str, Any]:
    """The check of the public names, where this computer's names are those of ``hosts``."""
    own = home.folder / "hosts"
    own.write_text(hosts)
    home.ssh("true")  # the shared connection is there: one made within would hold the machine's disk for a minute
    # In a mount namespace of its own: nobody else sees these names.
    bound = f'mount --make-rprivate / && mount --bind {own} /etc/hosts && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", bound, "sh", *home.argv("smoke", "-o", "json")]
    done = subprocess.run(
        [*argv, "--only", "machine.public-names"], env=home.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["checks"][-1]
    return found


def test_public_names_that_lead_to_another_machine(home: Home) -> None:
    binder, address = f"{home.name}.test", f"{home.network}.20"
    right = by_names(home, f"{address} {binder} hub.{binder}\n")
    assert (right["id"], right["outcome"]) == ("machine.public-names", "ok")
    wrong = by_names(home, f"{address} hub.{binder}\n203.0.113.9 {binder}\n")
    assert wrong["outcome"] == "failed"
    assert wrong["reason"] == f"DNS: {binder} is 203.0.113.9; the machine is {address}"


@pytest.mark.soak
def test_a_cache_that_is_not_collected(home: Home) -> None:
    """The collector looks a minute after a build: until then a large one is over a small limit."""
    with saying(home, "buildkit: {cache: 100M}"), injected(home, OVERFULL):
        told = smoke(home, "--only", "buildkit.cache")
    told.only("buildkit.cache")
    assert "over its limit of 0.1 GB" in told.failed["buildkit.cache"]


def test_a_certificate_that_ends_soon(home: Home) -> None:
    pem = base64.b64encode(_certificate(days=5)).decode()
    aside = f"mv {SCHEDULER} /root/scheduler.crt"
    ending = Fault(
        ("k3s.certificates",),
        f"{aside} && echo {pem} | base64 -d > {SCHEDULER}",
        f"mv /root/scheduler.crt {SCHEDULER}",
    )
    with injected(home, ending):
        told = smoke(home)
    told.only("k3s.certificates")
    assert f"{SCHEDULER} in 4 days" in told.failed["k3s.certificates"]


def _certificate(days: int) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:kube-scheduler")])
    made = (
        x509.CertificateBuilder()
        .issuer_name(name)
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


# --- the bucket ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bucket:
    """The node's bucket as root sees it; ``key`` is the registry's."""

    client: Any
    admin: Any
    name: str
    key: str


@pytest.fixture
def as_root(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    opened = open_spec(str(home.inventory), None)
    access, node = access_of(opened)[0], open_bare(opened)
    stage = StorageStage(node, access)
    with stage.endpoint() as endpoint:
        root = stage.as_root(endpoint)
        yield Bucket(client(root), admin(root), endpoint.bucket, endpoint.access_key)


@contextmanager
def foreign_object(bucket: Bucket) -> Iterator[None]:
    """Another registry's blob."""
    bucket.client.put_object(bucket_name=bucket.name, object_name="harbor/docker/blob", data=BytesIO(b"blob"), length=4)
    try:
        yield
    finally:
        bucket.client.remove_object(bucket_name=bucket.name, object_name="harbor/docker/blob")


@contextmanager
def wide_key(bucket: Bucket) -> Iterator[None]:
    """The registry's key may do everything everywhere."""
    bucket.admin.policy_set(policy_name="readwrite", user=bucket.key)
    try:
        yield
    finally:
        bucket.admin.policy_set(policy_name=POLICY_NAME, user=bucket.key)


@contextmanager
def no_key(bucket: Bucket) -> Iterator[None]:
    """The registry's key is gone."""
    bucket.admin.user_disable(access_key=bucket.key)
    try:
        yield
    finally:
        bucket.admin.user_enable(access_key=bucket.key)


@contextmanager
def read_only_key(bucket: Bucket) -> Iterator[None]:
    """The registry's key may not write."""
    policy = scoped(bucket.name)
    policy["Statement"].append(
        {"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{bucket.name}/*"]}
    )
    bucket.admin.policy_add(policy_name=POLICY_NAME, policy=policy)
    try:
        yield
    finally:
        bucket.admin.policy_add(policy_name=POLICY_NAME, policy=scoped(bucket.name))


@pytest.mark.parametrize(
    ("check", "harm", "words"),
    [
        ("storage.only-ours", foreign_object, ()),
        ("storage.scope", wide_key, ()),
        ("storage.key", no_key, ()),
        ("storage.write", read_only_key, ("--deep", "--only", "storage")),
    ],
)
def test_failures_of_the_bucket(
    home: Home,
    as_root: Bucket,
    check: str,
    harm: Callable[[Bucket], AbstractContextManager[None]],
    words: tuple[str, ...],
) -> None:
    with harm(as_root):
        told = smoke(home, *words)
    told.only(check)


def test_a_bucket_that_is_not_there(home: Home, as_root: Bucket) -> None:
    """The key has to open it, or that is all that S3 says."""
    kept = home.inventory.read_text()
    with wide_key(as_root):
        home.inventory.write_text(kept.replace("storage: {kind: node}", "storage: {kind: node, bucket: elsewhere}"))
        try:
            told = smoke(home, "--only", "storage.bucket")
        finally:
            home.inventory.write_text(kept)
    told.only("storage.bucket")
    assert told.failed["storage.bucket"] == "bucket elsewhere is not there"


def test_what_the_deep_checks_wrote_is_gone(home: Home, as_root: Bucket) -> None:
    told = smoke(home, "--deep", "--only", "storage")
    assert told.ran.code == 0, told.failed
    assert told.document["ok"]
    left = {item.object_name for item in as_root.client.list_objects(bucket_name=as_root.name)}
    assert left <= set(OWN) - {PREFIX}


def test_everything_is_green_again(home: Home) -> None:
    """Or what came before left something behind. What was put back may need a moment."""
    deadline = time.monotonic() + GREEN_SECONDS
    while True:
        told = smoke(home)
        if told.ran.code == 0 or time.monotonic() > deadline:
            break
    assert (told.failed, told.blocked) == ({}, set())
