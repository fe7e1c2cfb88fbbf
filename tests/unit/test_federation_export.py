"""The files for a central deploy: what they say, and each difference from the members that there are, explained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from binder_node.artifacts.pins import load_pins
from binder_node.cluster.values import flat
from binder_node.federation.export import export
from binder_node.lifecycle.exporting import exporter
from binder_node.lifecycle.opened import Opened
from binder_node.spec.load import load
from tests.unit.federation_samples import SHARED, needs_shared

REPO = Path(__file__).parents[2]
PAGE = REPO / "docs/reference/exported-files.md"
BASE = """\
provider: {{kind: local}}
names: {{binder: {host}, registry: {registry}}}
tls: {{mode: acme, email: ops@example.org}}
kubernetes: {{api_from: [0.0.0.0/0], operators: [deploy]}}
deploy: federation
federation: {{member: {member}}}
"""
# The real members, as an inventory would say them.
MEMBERS = {
    "bids-ovh": {
        "host": "bids.mybinder.org",
        "registry": "registry.bids.mybinder.org",
        "more": "machine: {cpus: 24, memory: 92G, disk: 500G}\nbinderhub: {quota: 60, replicas: 2}\n"
        "storage: {kind: s3, endpoint: 'https://s3.us-east-va.io.cloud.ovh.us', region: us-east-va, "
        "bucket: mybinder-registry-bids-ovh}\n",
    },
    "hetzner-2i2c": {
        "host": "2i2c.mybinder.org",
        "registry": "oci.2i2c.mybinder.org",
        "more": "machine: {cpus: 48, memory: 192G, disk: 960G}\nbinderhub: {quota: 300, replicas: 2}\n"
        "storage: {kind: s3, endpoint: 'https://nbg1.your-objectstorage.com', region: does-not-matter, "
        "bucket: mybinder-2i2c-registry-2026}\n",
    },
    "hetzner-gesis": {
        "host": "gesis.mybinder.org",
        "registry": "registry.gesis.mybinder.org",
        "more": "machine: {cpus: 48, memory: 192G, disk: 960G}\nbinderhub: {quota: 180, replicas: 2}\n"
        "storage: {kind: s3, endpoint: 'https://nbg1.your-objectstorage.com', region: does-not-matter, "
        "bucket: css-mybinder}\n",
    },
}


def files(tmp_path: Path, member: str, more: str = "") -> dict[str, str]:
    """What an export of that member writes, into a checkout that has nothing of it."""
    said = MEMBERS[member]
    path = tmp_path / "node.yaml"
    path.write_text("name: node\n" + BASE.format(member=member, **said) + said["more"] + more)
    opened = Opened(path, load(path), load_pins(), tmp_path)
    _, make = exporter(opened, filled=False)
    made = make({}, None)
    assert make({path: text or "" for path, text in made.files.items()}, None).empty
    return {path: text or "" for path, text in made.files.items()}


def read(text: str) -> dict[str, Any]:
    return flat(YAML(typ="safe").load(text))


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    return {key for key in {*ours, *theirs} if key not in ours or key not in theirs or ours[key] != theirs[key]}


def explained(kind: str) -> dict[str, str]:
    """The table's rows of a kind of file: from whom each key differs."""
    rows = [row.split("|")[1:-1] for row in PAGE.read_text().splitlines() if row.startswith(f"| {kind} |")]
    return {key.strip().strip("`"): members.strip() for _, key, members, _ in rows}


@needs_shared
def test_every_difference_from_the_members_is_explained_and_nothing_else_is(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    for member in ("hetzner-2i2c", "hetzner-gesis", "bids-ovh"):
        ours = read(files(tmp_path, member)[f"config/{member}.yaml"])
        for key in differing(ours, read((SHARED / f"{member}.yaml").read_text())):
            found.setdefault(key, []).append(member)
    assert {key: ", ".join(members) for key, members in found.items()} == explained("values")


@needs_shared
def test_the_kubelet_and_the_plan_differ_where_the_table_says(tmp_path: Path) -> None:
    made = files(tmp_path, "bids-ovh")
    kubelet = read((SHARED / "bids-ovh-kubelet.yaml").read_text())
    assert differing(read(made["config/k3s/bids-ovh-kubelet.yaml"]), kubelet) == set(explained("kubelet"))
    plan = read((SHARED / "k3s-upgrade-plan.yaml").read_text())
    assert differing(read(made["config/k3s/bids-ovh-upgrade-plan.yaml"]), plan) == set(explained("plan"))


@needs_shared
def test_the_buckets_lifecycle_is_the_members() -> None:
    from binder_node.storage.policy import ABORT_AFTER_DAYS

    (rule,) = YAML(typ="safe").load((SHARED / "s3-bucket-lifecycle.json").read_text())["Rules"]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == ABORT_AFTER_DAYS


def test_the_values_are_of_this_member_alone(tmp_path: Path) -> None:
    made = read(files(tmp_path, "bids-ovh")["config/bids-ovh.yaml"])
    assert made["binderhub.config.BinderHub.hub_url"] == "https://hub.bids.mybinder.org"
    assert made["binderhub.config.BinderHub.image_prefix"] == "registry.bids.mybinder.org/mybinder-builds/i-"
    assert made["binderhub.config.LaunchQuota.total_quota"] == 60
    assert made["grafana.ingress.hosts"] == ["grafana.bids.mybinder.org"]
    assert "bids-ovh-harbor-registry:8001" in made["prometheus.extraScrapeConfigs"]
    # One member's configuration once carried another's address for months.
    whole = "".join(files(tmp_path, "bids-ovh").values())
    assert "2i2c" not in whole
    assert "gesis" not in whole


def test_what_an_inventory_says_besides_is_in_the_values(tmp_path: Path) -> None:
    said = MEMBERS["bids-ovh"]["more"].replace("replicas: 2}", "REST}")
    rest = "per_repo_quota: 20, banner: Hello, session: {memory_limit: 4G}"
    path = tmp_path / "node.yaml"
    path.write_text(
        "name: node\n" + BASE.format(member="x", **MEMBERS["bids-ovh"]) + said.replace("REST", f"replicas: 1, {rest}")
    )
    made = read(export(load(path), "", "v1")["config/x.yaml"])
    assert made["binderhub.config.BinderHub.per_repo_quota"] == 20
    assert made["binderhub.config.BinderHub.banner_message"] == "Hello"
    assert made["binderhub.jupyterhub.singleuser.memory.limit"] == 4_000_000_000
    assert made["binderhub.replicas"] == 1


def test_a_small_machine_gets_small_numbers(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    more = MEMBERS["bids-ovh"]["more"].replace("cpus: 24, memory: 92G, disk: 500G", "cpus: 2, memory: 4G, disk: 50G")
    path.write_text("name: node\n" + BASE.format(member="x", **MEMBERS["bids-ovh"]) + more.replace("quota: 60, ", ""))
    made = read(export(load(path), "", "v1")["config/x.yaml"])
    assert made["binderhub.dind.resources.limits.memory"] == "715Mi"
    assert made["binderhub.dind.resources.requests.cpu"] == "1"
    assert made["buildkitPruner.buildkitCacheSize"] == "15GB"
    assert made["prometheus.server.persistentVolume.size"] == "10Gi"


def test_the_template_has_keys_and_no_value(tmp_path: Path) -> None:
    text = files(tmp_path, "bids-ovh")["secrets/config/bids-ovh.yaml.template"]
    found = read(text)
    assert set(found.values()) == {None}
    assert {"harbor.harborAdminPassword", "eventsArchiver.serviceAccountKey", "grafana.adminPassword"} <= set(found)
    assert "binder-node kubeconfig node --operator NAME --file secrets/bids-ovh-kubeconfig.yaml" in text
