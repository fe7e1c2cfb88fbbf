"""The release's Helm values: exact layers, whose word is the last, and no secret shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from binder_node.cluster.banned import banned_source
from binder_node.cluster.engine.executor import executor_source
from binder_node.cluster.eventlog import eventlog_source
from binder_node.cluster.line import line_source
from binder_node.cluster.manifests import outward
from binder_node.cluster.snippets import apart
from binder_node.cluster.values import Layer, compose, merged, own, parsed, read, revealed, secret_texts, shown, size
from binder_node.errors import InputError
from binder_node.node import Node
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec
from tests.unit.host_samples import ADDRESS, sample_secrets, sample_spec

IMAGES = {"build": "quay.io/jupyterhub/repo2docker:1"}


def node(spec: Spec) -> Node:
    return Node(spec, sample_secrets(), {}, IMAGES, Path("/nowhere"))


def composed(**said: Any) -> dict[str, Any]:
    spec = sample_spec(**said)
    found: dict[str, Any] = shown(compose(node(spec), ADDRESS, read(spec)).values)
    return found


# --- merging -------------------------------------------------------------------------------------------------------


def test_the_last_layer_wins_key_by_key() -> None:
    stack = [
        Layer("base", {"a": {"x": 1, "y": 2}, "list": [1, 2], "kept": True}),
        Layer("node", {"a": {"y": 3}, "list": [4]}),
        Layer("own.yaml", {"a": {"z": None}}),
    ]
    found = merged(stack)
    assert found.values == {"a": {"x": 1, "y": 3, "z": None}, "list": [4], "kept": True}
    assert found.provenance == {"a.x": "base", "kept": "base", "a.y": "node", "list": "node", "a.z": "own.yaml"}


def test_a_mapping_replaces_a_plain_value_and_the_other_way_round() -> None:
    found = merged([Layer("one", {"a": 1, "b": {"x": 1}}), Layer("two", {"a": {"y": 2}, "b": 3})])
    assert found.values == {"a": {"y": 2}, "b": 3}
    assert set(found.provenance.values()) == {"two"}


def test_an_empty_mapping_takes_nothing_away() -> None:
    assert merged([Layer("one", {"a": {"x": 1}}), Layer("two", {"a": {}})]).values == {"a": {"x": 1}}


def test_merging_leaves_the_layers_as_they_were() -> None:
    first, second = {"a": {"x": [1]}}, {"a": {"y": {"z": 1}}}
    merged([Layer("one", first), Layer("two", second), Layer("three", {"a": {"x": [2], "y": {"z": 2}}})])
    assert (first, second) == ({"a": {"x": [1]}}, {"a": {"y": {"z": 1}}})


# --- layers --------------------------------------------------------------------------------------------------------


def test_what_follows_from_the_size() -> None:
    spec = sample_spec(binderhub={"quota": 60, "build_limit": 3, "replicas": 2})
    assert size(spec) == {
        "replicas": 2,
        "config": {
            "BinderHub": {"per_repo_quota": 100, "concurrent_build_limit": 3},
            "KubernetesBuildExecutor": {
                "resources": {
                    "requests": {"memory": 300_000_000, "cpu": "100m"},
                    "limits": {"memory": 2_000_000_000, "ephemeral-storage": 2_000_000_000},
                }
            },
            "LaunchQuota": {"total_quota": 60},
            "RateLimiter": {"limit": 1200},
        },
        "jupyterhub": {
            "singleuser": {
                "memory": {"guarantee": 450_000_000, "limit": 2_000_000_000},
                "cpu": {"guarantee": 0.01, "limit": 1.0},
            }
        },
    }


def test_a_build_never_asks_for_more_than_its_limit() -> None:
    resources = size(sample_spec(buildkit={"memory": "200M"}))["config"]["KubernetesBuildExecutor"]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == 200_000_000


def test_the_nodes_own() -> None:
    spec = sample_spec(binderhub={"banner": "<b>hello</b>"})
    registry = "registry.bids.example.org:5000"
    assert revealed(own(spec, sample_secrets(), IMAGES)) == {
        "registry": {"url": registry, "username": "push", "password": "secret-registry_push_password"},
        "config": {
            "BinderHub": {
                "hub_url": "http://hub.bids.example.org/",
                "image_prefix": f"{registry}/binder/",
                "build_token_secret": "secret-build_token_secret",
                "banner_message": "<b>hello</b>",
            },
            "DockerRegistry": {
                "url": "http://registry",
                "username": "pull",
                "password": "secret-registry_pull_password",
            },
            "KubernetesBuildExecutor": {"build_image": IMAGES["build"]},
        },
        "podAnnotations": {"binder-node/hub": "hbf61c2ca"},
        "extraConfig": {
            "10-binder-node-engine": apart(executor_source(spec)),
            "20-binder-node-line": apart(line_source(spec)),
            "30-binder-node-events": apart(eventlog_source(spec)),
            "40-binder-node-banned": apart(banned_source(by_url=False)),
        },
        "extraVolumes": [
            {"name": "binder-node-events", "hostPath": {"path": "/var/lib/binder-node/events", "type": "Directory"}},
            {"name": "binder-node-banned", "hostPath": {"path": "/var/lib/binder-node/banned", "type": "Directory"}},
        ],
        "extraVolumeMounts": [
            {"name": "binder-node-events", "mountPath": "/run/binder-node/events"},
            {"name": "binder-node-banned", "mountPath": "/run/binder-node/banned", "readOnly": True},
        ],
        "ingress": {"hosts": ["bids.example.org"], "tls": []},
        "jupyterhub": {
            "hub": {
                "cookieSecret": "secret-hub_cookie_secret",
                "config": {"CryptKeeper": {"keys": ["secret-hub_crypt_key"]}},
                "services": {"binder": {"apiToken": "secret-binder_api_token"}},
                "extraVolumes": [
                    {"name": "state", "hostPath": {"path": "/var/lib/binder-node/hub", "type": "Directory"}}
                ],
                "extraVolumeMounts": [{"name": "state", "mountPath": "/srv/jupyterhub"}],
            },
            "proxy": {"secretToken": "secret-proxy_token"},
            "ingress": {"hosts": ["hub.bids.example.org"], "tls": []},
            "imagePullSecret": {
                "create": True,
                "registry": registry,
                "username": "pull",
                "password": "secret-registry_pull_password",
            },
        },
    }


def test_a_certificate_is_for_both_names() -> None:
    values = composed(tls={"mode": "files", "certificate": "/x/chain.pem", "key": "/x/key.pem"})
    assert values["ingress"]["tls"] == [{"secretName": "binder-tls", "hosts": ["bids.example.org"]}]
    assert values["jupyterhub"]["ingress"]["tls"] == [{"secretName": "binder-tls", "hosts": ["hub.bids.example.org"]}]
    assert values["config"]["BinderHub"]["hub_url"] == "https://hub.bids.example.org/"


# --- whole ---------------------------------------------------------------------------------------------------------


def test_users_connect_to_names_and_outward_and_nowhere_else() -> None:
    policy = composed()["jupyterhub"]["singleuser"]["networkPolicy"]
    assert policy == {
        "enabled": True,
        "egressAllowRules": {
            "cloudMetadataServer": False,
            "dnsPortsCloudMetadataServer": False,
            "dnsPortsKubeSystemNamespace": True,
            "dnsPortsPrivateIPs": False,
            "nonPrivateIPs": False,
            "privateIPs": False,
        },
        "egress": outward(sample_spec(), ADDRESS),
    }


def test_what_a_single_node_must_not_have() -> None:
    values = composed()
    assert values["imageBuilderType"] == "host"
    assert values["service"] == values["jupyterhub"]["proxy"]["service"] == {"type": "ClusterIP"}
    assert values["config"]["BinderHub"]["sticky_builds"] is False
    assert not any(part["enabled"] for part in (values["imageCleaner"], values["pdb"]))
    assert not any(part["enabled"] for part in values["jupyterhub"]["scheduling"].values())
    assert values["jupyterhub"]["singleuser"]["cloudMetadata"]["blockWithIptables"] is False


def test_the_federations_layer_is_for_members_only() -> None:
    assert "badge_base_url" not in composed()["config"]["BinderHub"]
    member = composed(federation={"member": "bids"})
    assert member["config"]["BinderHub"]["badge_base_url"] == "https://mybinder.org"


def test_the_operator_has_the_last_word(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("replicas: 3\nconfig: {LaunchQuota: {total_quota: 5}}\n")
    second.write_text("replicas: 4\n")
    spec = sample_spec(binderhub={"values": [str(first), str(second)]})
    found = compose(node(spec), ADDRESS, read(spec))
    assert (found.values["replicas"], found.values["config"]["LaunchQuota"]["total_quota"]) == (4, 5)
    assert found.provenance["replicas"] == str(second)
    assert found.provenance["config.LaunchQuota.total_quota"] == str(first)
    assert found.provenance["config.BinderHub.hub_url"] == "node"


def test_the_same_inventory_makes_the_same_values() -> None:
    assert composed() == composed()


def test_every_secret_is_masked_and_revealed_where_it_has_to_be() -> None:
    spec = sample_spec()
    values = compose(node(spec), ADDRESS, read(spec)).values
    assert "secret-" not in str(shown(values)).replace("image-pull-secret", "")
    assert set(secret_texts(values)) >= {
        "secret-binder_api_token",
        "secret-build_token_secret",
        "secret-hub_cookie_secret",
        "secret-hub_crypt_key",
        "secret-proxy_token",
        "secret-registry_pull_password",
        "secret-registry_push_password",
    }
    assert revealed({"a": [Masked("x")]}) == {"a": ["x"]}


# --- the operator's files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [("a: 1\nb: [", 2, "is no YAML"), ("- a\n", 1, "is no mapping"), ("just text", 1, "is no")],
)
def test_a_values_file_that_is_none(text: str, line: int, wrong: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed("own.yaml", text)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("own.yaml", line)
    assert problem.wrong.startswith(wrong)


def test_an_empty_values_file_says_nothing() -> None:
    assert parsed("own.yaml", "# nothing yet\n") == {}


def test_a_values_file_that_is_not_there(tmp_path: Path) -> None:
    spec = sample_spec(binderhub={"values": [str(tmp_path / "own.yaml")]})
    with pytest.raises(InputError, match=r"own\.yaml: cannot be read"):
        read(spec)
