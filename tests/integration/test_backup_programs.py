"""What runs on a node to back it up and to put it back: real databases, age and MinIO, folders in place of a node's."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from binder_node.host import on_node, restore
from binder_node.host.backup import HUB_DATABASE, K3S_DATABASE
from binder_node.layout import ACME_STATE, BACKUPS, HUB_STATE
from binder_node.secrets.agefile import opened
from binder_node.secrets.identity import ensure_identities
from binder_node.secrets.masked import Masked
from binder_node.storage import bucket
from binder_node.storage.backups import backup_of
from binder_node.storage.endpoint import Endpoint, client
from binder_node.storage.policy import BACKUP_POLICY, writing_below
from tests.integration.binaries import binary
from tests.integration.test_storage_minio import running
from tests.unit.host_samples import sample_spec

pytestmark = pytest.mark.integration

# The folder that the package lies in, as on a node.
PACKAGE, RESTORE = Path(on_node.__file__).parent, Path(on_node.__file__).with_name("restore.py")
BELOW = f"{BACKUPS}bids-1/"
USERS = 200


@dataclass
class Lab:
    """A node's folders, its bucket with a key that only writes, and an operator's identity."""

    folder: Path
    root: Endpoint
    key: Endpoint
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> Path:
        return self.folder / "identity.txt"

    @property
    def hub(self) -> Path:
        return self.folder / "state" / HUB_STATE / HUB_DATABASE

    @property
    def k3s(self) -> Path:
        return self.folder / "server/db" / K3S_DATABASE

    def config(self) -> dict[str, Any]:
        server = self.folder / "server"
        return {
            "node": "bids-1",
            "scratch": str(self.folder / "scratch"),
            "databases": {f"hub/{HUB_DATABASE}": str(self.hub), f"k3s/db/{K3S_DATABASE}": str(self.k3s)},
            "trees": {
                "acme": str(self.folder / "state" / ACME_STATE),
                "k3s/tls": str(server / "tls"),
                "k3s/token": str(server / "token"),
                "node/password": str(self.folder / "password"),
                "secrets.age": str(self.folder / "secrets.age"),
            },
            "needed": [f"k3s/db/{K3S_DATABASE}", "secrets.age"],
            "versions": {"k3s": ["echo", "k3s version v1.35.4+k3s1"]},
            "age": str(binary("age")),
            "recipients": str(self.folder / "recipients"),
            "endpoint": self.key.url,
            "region": self.key.region,
            "bucket": self.key.bucket,
            "prefix": BELOW,
            "access_key": self.key.access_key,
            "secret_key": self.key.secret_key.reveal(),
            **self.more,
        }

    def run(self, **more: Any) -> subprocess.CompletedProcess[str]:
        self.more = more
        config = self.folder / "backup.json"
        config.write_text(json.dumps(self.config()))
        argv = [sys.executable, "-m", f"{PACKAGE.name}.backup", str(config)]
        return subprocess.run(argv, cwd=PACKAGE.parent, capture_output=True, text=True, check=False, timeout=120)

    def names(self) -> list[str]:
        found = client(self.root).list_objects(bucket_name=self.root.bucket, prefix=BELOW)
        return sorted(str(one.object_name) for one in found)

    def archive(self) -> Path:
        """The newest backup in clear."""
        sealed, target = self.folder / "sealed", self.folder / "archive.tar.gz"
        client(self.root).fget_object(bucket_name=self.root.bucket, object_name=self.names()[-1], file_path=str(sealed))
        target.write_bytes(opened(sealed.read_bytes(), self.identity, "the backup"))
        return target


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(tmp_path_factory.mktemp("minio"), "root", Masked("root-password-of-a-test")) as endpoint:
        bucket.make(endpoint)
        yield endpoint


@pytest.fixture
def lab(tmp_path: Path, minio: Endpoint) -> Iterator[Lab]:
    key = replace(minio, access_key="writes-only", secret_key=Masked("secret-of-a-backup"))
    bucket.make_key(minio, key, BACKUP_POLICY, writing_below(minio.bucket, BELOW))
    made = Lab(tmp_path, minio, key)
    (tmp_path / "recipients").write_text("".join(f"{one.public.key}\n" for one in ensure_identities(made.identity)))
    (tmp_path / "secrets.age").write_text("sealed")
    (tmp_path / "password").write_text("of-the-node")
    for path, text in {"token": "K10::server:t", "tls/server-ca.crt": "CA", "tls/etcd/peer-ca.key": "KEY"}.items():
        file = tmp_path / "server" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "server/tls/server-ca.crt").chmod(0o640)
    os.utime(tmp_path / "server/tls/server-ca.crt", (1_700_000_000, 1_700_000_000))
    (tmp_path / "server/tls/link").symlink_to("server-ca.crt")
    (made.hub.parent / f"../{ACME_STATE}").resolve().mkdir(parents=True)
    (tmp_path / "state" / ACME_STATE / "acme.json").write_text('{"acme": {}}')
    for database, mode in ((made.hub, "DELETE"), (made.k3s, "WAL")):
        database.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(database) as there:
            there.execute(f"PRAGMA journal_mode={mode}")
            there.execute("CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
            there.executemany("INSERT INTO users (name) VALUES (?)", [(f"user-{n}",) for n in range(USERS)])
        there.close()
    os.chown(made.hub, 1000, 1000)
    made.hub.chmod(0o600)
    yield made
    bucket.remove_below(minio, [BACKUPS])


def count(database: Path) -> int:
    there = sqlite3.connect(database)
    try:
        found: int = there.execute("SELECT count(*) FROM users").fetchone()[0]
        return found
    finally:
        there.close()


# --- backing up ----------------------------------------------------------------------------------------------------


def test_a_backup_holds_everything_and_says_what(lab: Lab) -> None:
    done = lab.run()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert lab.names() == [told["name"]]
    found = backup_of(told["name"].removeprefix(BELOW), told["bytes"])
    assert found is not None
    with tarfile.open(lab.archive()) as tar:
        names = tar.getnames()
        first = tar.extractfile("about.json")
        assert first is not None
        about = json.loads(first.read())
        owner = tar.getmember(f"hub/{HUB_DATABASE}")
    assert names == [
        "about.json",
        "acme/acme.json",
        "k3s/tls/server-ca.crt",
        "k3s/tls/etcd/peer-ca.key",
        "k3s/token",
        "node/password",
        "secrets.age",
        f"hub/{HUB_DATABASE}",
        f"k3s/db/{K3S_DATABASE}",
    ]
    assert (about["node"], about["versions"]["k3s"]) == ("bids-1", "k3s version v1.35.4+k3s1")
    assert sorted(about["files"]) == sorted(names[1:])
    assert (owner.uid, owner.gid, owner.mode) == (1000, 1000, 0o600)
    assert list((lab.folder / "scratch").iterdir()) == []


def test_nobody_without_the_identity_reads_it(lab: Lab) -> None:
    assert lab.run().returncode == 0
    lab.identity.unlink()
    ensure_identities(lab.identity)
    with pytest.raises(Exception, match="decrypt the backup"):
        lab.archive()


def test_databases_are_whole_while_they_are_written_to(lab: Lab) -> None:
    over = threading.Event()

    def write(path: Path) -> None:
        there = sqlite3.connect(path, timeout=30)
        while not over.is_set():
            with there:  # two at once, or none
                there.executemany("INSERT INTO users (name) VALUES (?)", [("a" * 500,), ("b" * 500,)])
        there.close()

    writers = [threading.Thread(target=write, args=(path,)) for path in (lab.hub, lab.k3s)]
    for each in writers:
        each.start()
    try:
        done = lab.run()
    finally:
        over.set()
        for each in writers:
            each.join()
    assert done.returncode == 0, done.stderr
    with tarfile.open(lab.archive()) as tar:
        tar.extractall(lab.folder / "out", filter="fully_trusted")
    for name, path in (("hub", lab.hub), ("k3s/db", lab.k3s)):
        copied = lab.folder / "out" / name / path.name
        assert USERS <= count(copied) <= count(path)
        assert count(copied) % 2 == 0
        assert not copied.with_name(f"{copied.name}-wal").exists()


def test_the_nodes_key_reads_and_deletes_nothing(lab: Lab) -> None:
    from minio.error import S3Error

    assert lab.run().returncode == 0
    server, name = client(lab.key), lab.names()[0]
    for ask in (
        lambda: server.get_object(bucket_name=lab.key.bucket, object_name=name),
        lambda: server.remove_object(bucket_name=lab.key.bucket, object_name=name),
        lambda: list(server.list_objects(bucket_name=lab.key.bucket, prefix=BELOW)),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            ask()
    refused = lab.run(prefix="docker/registry/")
    assert (refused.returncode, "AccessDenied" in refused.stderr) == (1, True)
    assert lab.names() == [name]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("database", "no backup: "),
        ("missing", f"there is no k3s/db/{K3S_DATABASE} to back up"),
        ("recipients", "no backup: age: error: "),
        ("bucket", "refused binder-node-backup/bids-1/"),
    ],
)
def test_what_is_no_backup_is_none(lab: Lab, broken: str, said: str) -> None:
    more = {}
    if broken == "database":
        content = bytearray(lab.k3s.read_bytes())
        content[4096:8192] = b"\xff" * 4096
        lab.k3s.write_bytes(content)
    elif broken == "missing":
        lab.k3s.unlink()
    elif broken == "recipients":
        (lab.folder / "recipients").write_text("")
    else:
        more = {"bucket": "no-such-bucket"}
    done = lab.run(**more)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.names() == []
    assert list((lab.folder / "scratch").iterdir()) == []


# --- putting back --------------------------------------------------------------------------------------------------


def put_back(lab: Lab, bare: Path, archive: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    spec = sample_spec(machine={"state": str(bare / "state")})
    places = {**restore.places(spec), "node/": f"{bare}/node/"}
    ask = {
        "archive": str(archive),
        "name": "the-backup",
        "taken": "2026-11-21T12:00:00+00:00",
        "places": places,
        "databases": restore.databases(spec),
        "marker": str(bare / "restored.json"),
        **more,
    }
    del lab
    argv = [sys.executable, str(RESTORE)]
    return subprocess.run(argv, input=json.dumps(ask), capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    folder = tmp_path / "bare"
    (folder / "state").mkdir(parents=True)
    return folder


def test_a_bare_machine_gets_it_as_it_was(lab: Lab, bare: Path) -> None:
    assert lab.run().returncode == 0
    archive = lab.archive()
    done = put_back(lab, bare, archive)
    assert done.returncode == 0, done.stderr
    server, hub = bare / "state/rancher/k3s/server", bare / "state/hub" / HUB_DATABASE
    assert (count(hub), count(server / "db" / K3S_DATABASE)) == (USERS, USERS)
    about, ca = hub.stat(), (server / "tls/server-ca.crt").stat()
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (1000, 1000, 0o600)
    # K3s believes the file or its database, whichever is younger.
    assert (stat.S_IMODE(ca.st_mode), int(ca.st_mtime)) == (0o640, 1_700_000_000)
    assert (bare / "node/password").read_text() == "of-the-node"
    assert (bare / "state/acme/acme.json").exists()
    assert not list(bare.rglob("secrets.age"))
    assert not list(bare.rglob("*.part"))
    assert json.loads((bare / "restored.json").read_text())["state"] == "placed"


def test_a_machine_that_has_something_keeps_it(lab: Lab, bare: Path) -> None:
    assert lab.run().returncode == 0
    hub = bare / "state/hub" / HUB_DATABASE
    hub.parent.mkdir()
    hub.write_text("mine")
    done = put_back(lab, bare, lab.archive())
    assert (done.returncode, hub.read_text()) == (7, "mine")
    assert f"{hub}: there already" in done.stderr
    assert not (bare / "restored.json").exists()


def test_cut_half_way_the_next_run_goes_on_and_one_after_it_does_nothing(lab: Lab, bare: Path) -> None:
    assert lab.run().returncode == 0
    archive = lab.archive()
    cut = lab.folder / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])
    assert put_back(lab, bare, cut).returncode not in (0, 7)
    assert json.loads((bare / "restored.json").read_text())["state"] == "placing"
    assert put_back(lab, bare, archive).returncode == 0
    hub = bare / "state/hub" / HUB_DATABASE
    assert count(hub) == USERS
    hub.write_text("changed since")
    assert put_back(lab, bare, archive).returncode == 0
    assert hub.read_text() == "changed since"


def test_a_name_that_leads_elsewhere_is_refused(lab: Lab, bare: Path) -> None:
    archive = lab.folder / "evil.tar.gz"
    (lab.folder / "x").write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(lab.folder / "x", "hub/../../../escaped")
    done = put_back(lab, bare, archive)
    assert done.returncode == 1
    assert "strange name" in done.stderr
    assert not list(lab.folder.rglob("escaped"))


def test_no_folder_of_the_scratch_is_left_by_a_killed_run(lab: Lab) -> None:
    left = lab.folder / "scratch"
    left.mkdir()
    (left / "hub-jupyterhub.sqlite").write_text("half a copy")
    assert lab.run().returncode == 0
    assert list(left.iterdir()) == []
    shutil.rmtree(left)
