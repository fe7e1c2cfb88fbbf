"""What a node is made of, to the byte: a change here is a change on every node, and shows in the goldens."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import Any

import bcrypt
import pytest
from ruamel.yaml import YAML

from binder_node.errors import InputError
from binder_node.host.hubcache import hubcache
from binder_node.host.registry import bcrypted
from binder_node.host.render import render
from binder_node.host.wanted import File, Wanted
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec
from binder_node.storage.policy import cache_expiry
from tests.unit.host_samples import (
    ADDRESS,
    ENGINE,
    GOLDEN,
    MANIFESTS,
    VARIANTS,
    central_spec,
    other_spec,
    sample_artifacts,
    sample_secrets,
    sample_spec,
    sample_wanted,
    shown,
)


def content(wanted: Wanted, path: str) -> str:
    return next(f.content.decode() for c in wanted.components for f in c.all_files() if f.path == path)


def yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_component_is_what_its_golden_says(variant: str) -> None:
    components = sample_wanted(VARIANTS[variant]()).components
    assert {c.name: shown(c) for c in components} == {
        path.stem: path.read_text() for path in (GOLDEN / variant).glob("*.txt")
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_started_again_for_ever_may_be_started_at_any_moment(variant: str) -> None:
    """systemd's limit of starts would refuse the one that mends it: an upgrade's way back, for example."""
    units = [unit for component in sample_wanted(VARIANTS[variant]()).components for unit in component.units]
    limited = [unit.name for unit in units if "\nStartLimitIntervalSec=0\n" not in (unit.content or "")]
    assert [unit.name for unit in units if "\nRestart=" in (unit.content or "") and unit.name in limited] == []


def test_rendering_twice_gives_the_same_bytes() -> None:
    assert sample_wanted() == sample_wanted()


def test_no_secret_lies_in_a_file_that_is_not_secret_or_that_others_may_read() -> None:
    def secrets_in(file: File) -> bool:
        return b"secret-" in file.content

    files = [file for component in sample_wanted().components for file in component.all_files()]
    assert [file.path for file in files if secrets_in(file) and not file.secret] == []
    assert [file.path for file in files if file.secret and file.mode & 0o007] == []
    # MinIO, two registries and one of them read-only, K3s's token and pulls, what the registry keeps, the hub's token,
    # the archive of launches.
    assert len([file for file in files if secrets_in(file)]) == 9


def test_the_pull_registry_is_read_only_and_the_push_one_is_on_loopback_alone() -> None:
    push, pull = (yaml(content(sample_wanted(), f"/etc/binder-node/registry-{role}.yaml")) for role in ("push", "pull"))
    assert push["http"]["addr"] == "127.0.0.1:5000"
    assert pull["http"]["addr"] == "0.0.0.0:5001"
    assert push["storage"]["maintenance"]["readonly"] == {"enabled": False}
    assert pull["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert push["storage"]["s3"] == pull["storage"]["s3"]
    assert push["auth"]["htpasswd"]["path"] != pull["auth"]["htpasswd"]["path"]


def test_a_password_is_hashed_the_same_each_time_and_bcrypt_takes_it() -> None:
    secret = Masked("correct horse")
    once = bcrypted("push", secret)
    assert once == bcrypted("push", secret)
    assert once != bcrypted("pull", secret)
    assert bcrypt.checkpw(b"correct horse", once.encode())
    assert not bcrypt.checkpw(b"wrong horse", once.encode())


@pytest.mark.parametrize("spec", [sample_spec(), other_spec()], ids=["plain", "other"])
def test_buildkits_file_is_toml_with_our_limits(spec: Spec) -> None:
    config = tomllib.loads(content(sample_wanted(spec), "/etc/buildkit/buildkitd.toml"))
    own, other = spec.buildkit.worker, {"oci": "containerd", "containerd": "oci"}[spec.buildkit.worker]
    assert config["worker"][other] == {"enabled": False}
    worker = config["worker"][own]
    assert worker["networkMode"] == "cni"
    assert worker["max-parallelism"] == spec.buildkit.parallelism
    assert worker["gcpolicy"][-1] == {
        "all": True,
        "maxUsedSpace": str(int(spec.buildkit.cache)),
        "minFreeSpace": f"{spec.buildkit.keep_free}%",
    }
    assert config["registry"]["registry.bids.example.org:5000"] == {"http": True}


def test_mirrors_are_told_to_containerd_and_to_buildkit() -> None:
    wanted = sample_wanted(other_spec())
    registries = yaml(content(wanted, "/etc/rancher/k3s/registries.yaml"))
    assert registries["mirrors"]["docker.io"]["endpoint"] == [
        "http://127.0.0.1:5002",  # the node's own cache
        "https://mirror.example.net",
        "http://198.18.7.1:5080/hub",
    ]
    config = tomllib.loads(content(wanted, "/etc/buildkit/buildkitd.toml"))["registry"]
    assert config["docker.io"] == {"mirrors": ["127.0.0.1:5002", "mirror.example.net", "198.18.7.1:5080/hub"]}
    assert config["127.0.0.1:5002"] == {"http": True}
    assert config["198.18.7.1:5080"] == {"http": True}
    assert "mirror.example.net" not in config


@pytest.mark.parametrize(
    ("said", "days", "asks"),
    [
        ({}, 7, "https://registry-1.docker.io"),
        ({"cache_days": 30, "cache_from": "https://hub.example.org/"}, 30, "https://hub.example.org"),
        ({"mirrors": {"docker.io": ["http://a.example.org/hub", "http://b.example.org"]}}, 7, "http://b.example.org"),
        ({"mirrors": {"quay.io": ["http://a.example.org"]}}, 7, "https://registry-1.docker.io"),
    ],
)
def test_the_cache_of_docker_hub_lies_beside_the_registry_in_its_bucket(
    said: dict[str, Any], days: int, asks: str
) -> None:
    spec = sample_spec(storage={"kind": "s3", "endpoint": "https://s3.example.net", "bucket": "bids"}, registry=said)
    wanted = sample_wanted(spec)
    config = yaml(content(wanted, "/etc/binder-node/registry-cache.yaml"))
    push = yaml(content(wanted, "/etc/binder-node/registry-push.yaml"))
    assert config["storage"]["s3"] == {**push["storage"]["s3"], "rootdirectory": "/docker-hub"}
    assert config["http"]["addr"] == "127.0.0.1:5002"
    assert (config["proxy"]["ttl"], config["proxy"]["remoteurl"]) == ("0s", asks)
    # It removes nothing: the bucket does.
    assert config["storage"]["delete"] == {"enabled": False}
    expiry = cache_expiry(spec)
    assert expiry is not None
    assert (expiry.prefix, expiry.days) == ("docker-hub/", days)
    assert "dport 5002" not in content(wanted, "/etc/binder-node/firewall.nft")


@pytest.mark.parametrize(
    "spec", [sample_spec(), sample_spec(registry={"cache_days": 0}), central_spec()], ids=["own disk", "0", "central"]
)
def test_there_is_no_cache_where_none_is_wanted(spec: Spec) -> None:
    wanted = sample_wanted(spec)
    assert "hubcache" not in {component.name for component in wanted.components}
    assert "5002" not in content(wanted, "/etc/rancher/k3s/registries.yaml")


def test_the_cache_logs_in_with_a_token_and_says_when_there_is_none() -> None:
    spec = sample_spec(registry={"cache_days": 3, "cache_user": "bids"})
    with pytest.raises(InputError, match=r"no token of bids's; give it by `binder-node secrets set bids-1 tokens"):
        hubcache(spec, sample_secrets())
    secrets = sample_secrets().model_copy(update={"tokens": {"dockerhub": Masked('dckr_pat\'s \\ "own"')}})
    (login,) = (file for file in hubcache(spec, secrets).files if file.path.endswith("-login"))
    assert (login.mode, login.group, login.secret) == (0o750, "registry", True)
    said = subprocess.run(["sh", "-s", "get"], input=login.content, capture_output=True, check=True).stdout
    assert json.loads(said) == {"Username": "bids", "Secret": 'dckr_pat\'s \\ "own"'}


def test_containerd_pulls_the_nodes_images_from_the_read_only_registry() -> None:
    registries = yaml(content(sample_wanted(), "/etc/rancher/k3s/registries.yaml"))
    assert registries["mirrors"] == {"registry.bids.example.org:5000": {"endpoint": ["http://127.0.0.1:5001"]}}
    auth = {"username": "pull", "password": "secret-registry_pull_password"}
    assert registries["configs"] == {"127.0.0.1:5001": {"auth": auth}}


@pytest.mark.parametrize(("pods", "mask"), [(30, None), (110, None), (128, None), (129, 23), (336, 22), (1000, 21)])
def test_a_node_with_many_pods_gets_addresses_for_twice_as_many(pods: int, mask: int | None) -> None:
    config = yaml(content(sample_wanted(sample_spec(kubernetes={"max_pods": pods})), "/etc/rancher/k3s/config.yaml"))
    expected = [f"node-cidr-mask-size={mask}"] if mask else None
    assert config.get("kube-controller-manager-arg") == expected


def test_k3s_files_lie_on_the_state_disk_where_the_bind_mount_shows_them() -> None:
    k3s = sample_wanted(other_spec()).component("k3s")
    kubelet = "/data/node/rancher/k3s/agent/etc/kubelet.conf.d/99-binder-node.conf"
    assert kubelet in {file.path for file in k3s.files}
    (unit,) = k3s.units
    assert kubelet in unit.restart_on
    assert not any(path.endswith("manifests/binder-node.yaml") for path in unit.restart_on)


def test_without_its_own_bucket_a_node_has_no_minio() -> None:
    names = [component.name for component in sample_wanted(other_spec()).components]
    assert "minio" not in names
    assert "minio" in [component.name for component in sample_wanted().components]


def test_the_build_network_is_the_specs() -> None:
    conflist = json.loads(content(sample_wanted(other_spec()), "/etc/buildkit/cni.conflist"))
    (bridge,) = conflist["plugins"]
    assert bridge["mtu"] == 1400
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.11.0.0/16"}]]
    assert bridge["bridge"] == "buildkit0"


def test_engine_files_lie_with_buildctl_in_one_folder() -> None:
    engine = render(sample_spec(), sample_secrets(), sample_artifacts(), ADDRESS, MANIFESTS, ENGINE).component("engine")
    root = "/var/lib/binder-node/engine"
    assert [copy.path for copy in engine.copies] == [f"{root}/bin/buildctl"]
    assert {file.path for file in engine.files} == {f"{root}/site/engine.py", f"{root}/etc/repo2docker.py"}
    assert {folder.path for folder in engine.folders} == {f"{root}/bin", f"{root}/site", f"{root}/etc"}
