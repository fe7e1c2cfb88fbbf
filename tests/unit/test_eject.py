"""What is ejected: everything that `up` would make, secrets closed to others, and nothing of ours needed."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from binder_node.artifacts.model import Artifact
from binder_node.cluster.values import Layer, compose, merged, read, revealed
from binder_node.host.wanted import Component, Unit
from binder_node.lifecycle import ejecting
from binder_node.lifecycle.stages import later_stages
from binder_node.node import Node
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec
from tests.unit.host_samples import ADDRESS, other_spec, sample_artifacts, sample_secrets, sample_spec


def node(spec: Spec, folder: Path) -> Node:
    files = {}
    for name, artifact in sample_artifacts().items():
        path = folder / name
        path.write_bytes(b"x" * artifact.size)
        files[name] = Artifact(name, artifact.version, path, artifact.sha256, artifact.size)
    return Node(spec, sample_secrets(), files, {"build": "quay.io/jupyterhub/repo2docker:1"}, folder)


def yaml(data: bytes) -> Any:
    return YAML(typ="safe").load(data.decode())


@pytest.mark.parametrize("spec", [sample_spec(), other_spec()], ids=["plain", "other"])
def test_both_values_files_together_are_the_releases_values(spec: Spec, tmp_path: Path) -> None:
    made = node(spec, tmp_path)
    files, _ = ejecting.content(made, ADDRESS)
    public, secret = yaml(files["values.yaml"][0]), yaml(files["secret-values.yaml"][0])
    together = merged([Layer("values.yaml", public), Layer("secret-values.yaml", secret)]).values
    assert together == revealed(compose(made, ADDRESS, read(spec)).values)


def test_secrets_are_in_files_that_are_closed_alone(tmp_path: Path) -> None:
    files, _ = ejecting.content(node(sample_spec(), tmp_path), ADDRESS)
    told = {name for name, (data, _) in files.items() if b"secret-" in data.replace(b"secret-values", b"")}
    assert {"secret-values.yaml", "bucket-keys", "files/etc/binder-node/minio.env"} <= told
    assert [name for name in told if files[name][1] & 0o077] == []


def test_no_secret_is_an_argument_of_a_script(tmp_path: Path) -> None:
    files, _ = ejecting.content(node(sample_spec(), tmp_path), ADDRESS)
    for script in ("host.sh", "bucket.sh", "release.sh"):
        assert b"secret-" not in files[script][0].replace(b"secret-values", b""), script


@pytest.mark.parametrize("spec", [sample_spec(), other_spec()], ids=["plain", "other"])
def test_scripts_are_a_shells_and_call_nothing_of_ours(spec: Spec, tmp_path: Path) -> None:
    files, _ = ejecting.content(node(spec, tmp_path), ADDRESS)
    for name in (name for name in files if name.endswith(".sh") and "/" not in name):
        data, mode = files[name]
        assert mode & 0o100
        subprocess.run(["sh", "-n"], input=data, check=True, timeout=10)
        commands = [line.split()[0] for line in data.decode().splitlines() if line.strip()]
        assert "binder-node" not in commands


def test_everything_that_a_script_takes_is_in_the_folder(tmp_path: Path) -> None:
    made = node(sample_spec(), tmp_path)
    files, artifacts = ejecting.content(made, ADDRESS)
    folder = tmp_path / "out"
    ejecting._write(folder, files, artifacts)
    for line in (folder / "host.sh").read_text().splitlines():
        what, *words = line.split() or [""]
        if what == "file":
            assert (folder / f"files{words[3]}").is_file(), line
        if what == "stored":
            assert (folder / "artifacts" / words[1]).is_file(), line
        if what == "block":
            assert (folder / words[0]).is_file(), line
    for name in ("values.yaml", "secret-values.yaml", "binderhub.tgz", "bin/helm", "bucket-policy.json"):
        assert (folder / name).is_file(), name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "bin/helm").stat().st_mode) == 0o755


def test_the_readme_says_what_a_person_needs(tmp_path: Path) -> None:
    readme = ejecting.content(node(other_spec(), tmp_path), ADDRESS)[0]["README.md"][0].decode()
    for word in (ADDRESS, "bids.example.org. ", "bids-registry", "by UUID", "host.sh", "| k3s |"):
        assert word in readme, word
    assert "bucket.sh" not in readme  # its bucket is elsewhere
    assert "secret-" not in readme.replace("secret-values", "")


def test_backups_go_on_with_their_own_key_and_old_ones_go(tmp_path: Path) -> None:
    made = node(sample_spec(), tmp_path)
    made = replace(
        made,
        secrets=made.secrets.model_copy(
            update={"backup_access_key": "writer", "backup_secret_key": Masked("secret-backups")}
        ),
    )
    files, _ = ejecting.content(made, ADDRESS)
    assert b"BACKUP_ACCESS_KEY=writer\nBACKUP_SECRET_KEY=secret-backups\n" in files["bucket-keys"][0]
    policy = json.loads(files["backups-policy.json"][0])["Statement"]
    assert [(one["Action"], one["Resource"]) for one in policy] == [
        (["s3:PutObject"], ["arn:aws:s3:::registry/binder-node-backup/bids-1/*"])
    ]
    assert json.loads(files["bucket-rules.json"][0])["Rules"] == [
        {
            "ID": "binder-node-backups-bids-1",
            "Status": "Enabled",
            "Filter": {"Prefix": "binder-node-backup/bids-1/"},
            "Expiration": {"Days": made.spec.backup.keep},
        }
    ]
    script = files["bucket.sh"][0]
    assert b"backups-policy.json" in script
    assert b"<bucket-rules.json" in script
    assert b"secret-backups" not in script


def test_a_node_without_backups_has_no_key_for_them(tmp_path: Path) -> None:
    files, _ = ejecting.content(node(sample_spec(backup={"hours": 0}), tmp_path), ADDRESS)
    assert [name for name in files if "backup" in name or name.startswith("bucket-rules")] == []
    assert b"BACKUP" not in files["bucket.sh"][0] + files["bucket-keys"][0]


def test_a_bucket_elsewhere_wants_the_rule_of_backups(tmp_path: Path) -> None:
    readme = ejecting.content(node(other_spec(), tmp_path), ADDRESS)[0]["README.md"][0].decode()
    assert "`binder-node-backup/bids-1/`" in readme


def test_a_disk_of_its_own_is_not_made_but_asked_for(tmp_path: Path) -> None:
    script = ejecting.content(node(other_spec(), tmp_path), ADDRESS)[0]["host.sh"][0].decode()
    assert "mkfs.xfs -m uuid=" in script
    assert not [line for line in script.splitlines() if line.strip().startswith("mkfs")]


def test_operators_are_let_in_by_a_manifest(tmp_path: Path) -> None:
    spec = sample_spec(kubernetes={"operators": ["ada"]})
    files, _ = ejecting.content(node(spec, tmp_path), ADDRESS)
    kinds = [item["kind"] for item in YAML(typ="safe").load_all(files["operators.yaml"][0].decode())]
    assert kinds == ["Namespace", "ServiceAccount", "Secret", "ClusterRoleBinding"]
    assert b"operators.yaml" in files["release.sh"][0]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from binder_node.cli.main import app

    monkeypatch.setenv("BINDER_NODE_STATE", str(tmp_path / "state"))
    (tmp_path / "mine").write_text("mine")
    inventory = str(Path(__file__).parents[2] / "inventories/demo.yaml")
    ran = CliRunner().invoke(app, ["eject", inventory, str(tmp_path)])
    assert ran.exit_code == 2
    assert "is not empty" in ran.stderr
    assert (tmp_path / "mine").read_text() == "mine"


def test_nothing_that_a_node_is_made_of_is_forgotten(tmp_path: Path) -> None:
    """Who adds a part to components, or a stage, writes what it means without this toolkit, too."""
    assert {field.name for field in fields(Component)} == {
        "name", "packages", "users", "folders", "uploads", "copies", "files", "links", "blocks", "units",
        "sysctls", "disk",
    }  # fmt: skip
    assert {field.name for field in fields(Unit)} == {
        "name", "content", "enabled", "running", "restarts", "restart_on", "waits", "deadline", "instead_of",
    }  # fmt: skip
    stages = later_stages(node(sample_spec(dns={"kind": "manual"}), tmp_path), None, ADDRESS)
    assert [stage.name for stage in stages] == ["names", "host", "storage", "backup", "access", "release"]


def test_a_release_of_edited_values_is_not_taken_for_the_one_that_was_ejected(tmp_path: Path) -> None:
    made = node(sample_spec(), tmp_path)
    chart = made.artifacts["binderhub-chart"]
    real = replace(chart, sha256=hashlib.sha256(chart.path.read_bytes()).hexdigest())
    made = replace(made, artifacts={**made.artifacts, "binderhub-chart": real})
    folder, played = tmp_path / "out", tmp_path / "played"
    ejecting._write(folder, *ejecting.content(made, ADDRESS))
    played.mkdir()
    for name in ("helm", "kubectl"):
        (played / name).write_text('#!/bin/sh\necho "$0 $*"\n')
        (played / name).chmod(0o755)
        (folder / "bin" / name).unlink(missing_ok=True)

    def label() -> str:
        path = f"{played}:/usr/bin:/bin"
        done = subprocess.run([folder / "release.sh"], env={"PATH": path}, capture_output=True, text=True, check=True)
        return done.stdout.partition("--labels=binder-node/digest=")[2].split()[0]

    assert len(label()) == 40
    (folder / "values.yaml").write_text((folder / "values.yaml").read_text() + "# mine\n")
    assert label() == "changed"
