"""New inventories, their comments, and the reference: all from the model, all true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from binder_node.errors import InputError, StepError
from binder_node.spec.advice import warnings
from binder_node.spec.create import create
from binder_node.spec.describe import markdown
from binder_node.spec.keys import Section, sections
from binder_node.spec.load import load, load_inventory
from binder_node.spec.model import PATTERNS, Spec, SshProvider
from binder_node.spec.source import read
from binder_node.spec.template import flow, refreshed

ROOT = Path(__file__).parents[2]
INVENTORIES = sorted((ROOT / "inventories").glob("*.yaml"))
LOCAL: dict[str, Any] = {
    "name": "new",
    "provider": {"kind": "local"},
    "machine": {"cpus": 4, "memory": "16G", "disk": "100G"},
    "names": {"binder": "new.test"},
    "tls": {"mode": "none"},
    "storage": {"kind": "node"},
}
SSH: dict[str, Any] = {**LOCAL, "provider": {"kind": "ssh", "address": "198.51.100.7"}, "storage": {"kind": "s3"}}


@pytest.mark.parametrize("given", [LOCAL, SSH])
def test_a_new_inventory_loads_and_says_what_was_given(tmp_path: Path, given: dict[str, Any]) -> None:
    inventory = create(tmp_path / "deep" / "new.yaml", given)
    assert load(tmp_path / "deep" / "new.yaml") == inventory.spec
    said = read(tmp_path / "deep" / "new.yaml").data
    assert {key: said[key] for key in ("name", "machine", "names", "tls")} == {
        key: given[key] for key in ("name", "machine", "names", "tls")
    }
    assert said["provider"].items() >= given["provider"].items()


@pytest.mark.parametrize("given", [LOCAL, SSH])
def test_removing_every_mark_changes_nothing(tmp_path: Path, given: dict[str, Any]) -> None:
    """What stands behind a ``#`` really is the default, and can be uncommented line by line."""
    path = tmp_path / "new.yaml"
    spec = create(path, given).spec
    text, marks = re.subn(r"(?m)^(\s*)#(?=[a-z_]+:)", r"\1", path.read_text())
    assert marks > 30
    path.write_text(text)
    assert load(path) == spec


@pytest.mark.parametrize("given", [LOCAL, SSH])
def test_every_key_of_the_model_stands_in_a_new_inventory(tmp_path: Path, given: dict[str, Any]) -> None:
    create(tmp_path / "new.yaml", given)
    rows = (tmp_path / "new.yaml").read_text().splitlines()

    def missing(members: Any) -> list[str]:
        found = []
        for member in members:
            if not any(re.match(rf"\s*(#|#   )?{member.key[-1]}:", row) for row in rows):
                found.append(".".join(member.key))
            if isinstance(member, Section):
                found += missing(member.members)
        return found

    assert missing(sections()) == []


def test_an_inventory_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"there is such an inventory already; .* it was left as it is"):
        create(path, LOCAL)
    assert path.read_text() == "mine"


def test_wrong_answers_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        create(tmp_path / "in" / "new.yaml", {**LOCAL, "machine": {"cpus": 0, "memory": "x", "disk": "40G"}})
    assert str(caught.value).splitlines() == [
        "machine.cpus: 0 is too small; write a whole number from 1 to 1024",
        "machine.memory: 'x' is not a size; write a number with a unit, like 450M, 2Gi or 192G",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepError, match=r"name another folder: --dir"):
        create(tmp_path / "file" / "new.yaml", LOCAL)


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.stem)
def test_the_inventories_of_the_repository_load_and_are_up_to_date(path: Path) -> None:
    assert load(path).name == path.stem
    assert path.read_text() == refreshed(path), f"run: python -m binder_node.spec.template {path}"


def test_the_demo_is_what_the_testbed_serves() -> None:
    spec = load(ROOT / "inventories/demo.yaml")
    assert spec.registry.mirrors == {
        "docker.io": ("http://198.18.0.10:5080",),
        "quay.io": ("http://198.18.0.10:5080",),
    }
    assert (spec.machine.cpus, str(spec.machine.memory), str(spec.machine.disk)) == (2, "12G", "40G")
    assert (spec.names.binder, spec.tls.mode, spec.storage.kind) == ("demo.test", "none", "node")
    assert warnings(spec) == []


def test_the_reference_is_up_to_date() -> None:
    text = (ROOT / "docs/reference/inventory.md").read_text()
    assert text == markdown(), "run: python -m binder_node.spec.describe > docs/reference/inventory.md"


def test_every_pattern_has_its_words() -> None:
    schema = str(Spec.model_json_schema())
    used = set(re.findall(r"'pattern': '((?:[^'\\]|\\.)*)'", schema))
    assert {pattern.encode().decode("unicode_escape") for pattern in used} == set(PATTERNS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("a: b", '"a: b"'),
        ("yes # no", '"yes # no"'),
        ("", '""'),
        ("8", '"8"'),
        ("null", '"null"'),
        ("two\nlines", '"two\\nlines"'),
        ("a, b]", '"a, b]"'),
        (["http://a:1/x", 5], "[http://a:1/x, 5]"),
        ({"docker.io": ["http://a"]}, "{docker.io: [http://a]}"),
        (None, "null"),
        (True, "true"),
        (0.01, "0.01"),
    ],
)
def test_values_in_one_line(value: Any, text: str) -> None:
    assert flow(value) == text


class TestWarnings:
    def advice(self, tmp_path: Path, **more: Any) -> list[str]:
        create(tmp_path / "new.yaml", {**LOCAL, **more})
        inventory = load_inventory(tmp_path / "new.yaml")
        return [f"{problem.path}: {problem.wrong}" for problem in warnings(inventory.spec, inventory.source)]

    def test_none(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path) == []

    def test_a_member_with_weight(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path, federation={"member": "new", "weight": 50}) == [
            "tls.mode: users of the federation come by https",
            "storage.kind: MinIO's upstream is archived, and the bucket dies with the machine",
            "binderhub.replicas: one process means a gap at each upgrade of a member with weight",
            "federation.weight: a new member with a weight of 50 meets a storm of builds (#3173)",
        ]

    def test_more_than_the_machine_holds(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path, kubernetes={"max_pods": 110}, binderhub={"quota": 40, "build_limit": 5}) == [
            "kubernetes.max_pods: 110 pods are more than 1.75 for each GB of 16G",
            "binderhub.quota: 40 sessions and builds are more than the 25 that fit in 16G and 110 pods",
            "binderhub.build_limit: 5 builds of 2G may use more than half of 16G",
        ]

    def test_a_disk_smaller_than_said(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path, provider={"kind": "local", "disk_image": "30G"}) == [
            "machine.disk: the state folder gets a disk of 30G, not of 100G"
        ]

    def test_images_that_go_before_the_cache(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path, buildkit={"keep_free": 20}) == [
            "buildkit.keep_free: images are removed below 25 % free, before the build cache (20 %)"
        ]

    def test_examples_that_were_left(self, tmp_path: Path) -> None:
        assert self.advice(tmp_path, provider={"kind": "ssh"}) == [
            "provider.address: 203.0.113.10 is an address for examples",
        ]
        folder = tmp_path / "keys"
        for name in ("host_key", "fingerprint"):
            example = SshProvider.model_fields[name].examples
            assert example
            found = self.advice(folder / name, provider={"kind": "ssh", name: example[0]})
            assert f"provider.{name}: is the example's" in found
