"""Rules between keys: each is broken alone, and says so in its own sentence, at a line that the operator wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.spec.load import load
from binder_node.spec.rules import RULES

BASE = """\
name: node
provider: {kind: local}
machine: {cpus: 8, memory: 64G, disk: 400G}
names: {binder: node.example.org}
tls: {mode: none}
storage: {kind: node}
"""
Say = Callable[..., list[str]]


@pytest.fixture
def say(tmp_path: Path) -> Say:
    """What ``load`` says of :data:`BASE` with a line replaced or added, without the file's name."""

    def problems(*lines: str) -> list[str]:
        text = BASE
        for line in lines:
            key = line.partition(":")[0]
            rows = text.splitlines()
            at = next((number for number, row in enumerate(rows) if row.startswith(f"{key}:")), len(rows))
            text = "\n".join([*rows[:at], line, *rows[at + 1 :]]) + "\n"
        path = tmp_path / "node.yaml"
        path.write_text(text)
        try:
            load(path)
        except InputError as error:
            return [str(problem).removeprefix(f"{path}:") for problem in error.problems]
        return []

    return problems


def test_the_base_breaks_none(say: Say) -> None:
    assert say() == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "registry: {size: 400G}",
            "7: registry.size: 400G is not less than its filesystem, 400G; "
            "write a size below it, or remove the line for the default",
        ),
        (
            "machine: {cpus: 8, memory: 1G, disk: 400G}",
            "3: machine.memory: 1G is less than an idle node uses (1450M); "
            "write the machine's RAM with its unit, like 32G",
        ),
        (
            "machine: {cpus: 8, memory: 64G, disk: 1G}",
            "3: machine.disk: 1G does not hold a node's own images; "
            "write the size with its unit, like 240G; at least 2G",
        ),
        (
            "provider: {kind: local, disk_image: 500M}",
            "2: provider.disk_image: 500M does not hold a node's own images; write 2G or more",
        ),
        (
            "machine: {cpus: 8, memory: 64G, disk: 400G, state: var/lib}",
            "3: machine.state: 'var/lib' cannot be the state folder; "
            "write the absolute path of a folder on the machine, like /var/lib/binder-node",
        ),
        (
            "machine: {cpus: 8, memory: 64G, disk: 400G, state: /}",
            "3: machine.state: '/' cannot be the state folder; "
            "write the absolute path of a folder on the machine, like /var/lib/binder-node",
        ),
        (
            "names: {binder: node.example.org, hub: node.example.org}",
            "4: names.hub: 'node.example.org' is the name of names.binder too; "
            "give it a name of its own, like hub.node.example.org",
        ),
        (
            "names: {binder: node.example.org, registry: hub.node.example.org}",
            "4: names.registry: 'hub.node.example.org' is the name of names.hub too; "
            "give it a name of its own, like registry.node.example.org",
        ),
        (
            "kubernetes: {image_gc_low: 75}",
            "7: kubernetes.image_gc_low: the kubelet would stop at 75 % what it begins at 75 %; "
            "write less than image_gc_high, 75",
        ),
        (
            "kubernetes: {image_gc_high: 55}",
            "7: kubernetes.image_gc_low: the kubelet would stop at 60 % what it begins at 55 %; "
            "write less than image_gc_high, 55",
        ),
        (
            "buildkit: {keep_free: 15}",
            "7: buildkit.keep_free: builds wait below 15 % free, the cache is pruned below 15 % only; "
            "write more than wait_below, 15",
        ),
        (
            "buildkit: {wait_below: 8}",
            "7: buildkit.wait_below: pods are evicted below 8 % free, builds wait below 8 % only; "
            "write more than kubernetes.evict_below, 8",
        ),
        (
            "kubernetes: {evict_below: 15}",
            "7: buildkit.wait_below: pods are evicted below 15 % free, builds wait below 15 % only; "
            "write more than kubernetes.evict_below, 15",
        ),
        (
            "buildkit: {wait_below: 25}",
            "7: buildkit.wait_below: builds wait below 25 % free, but images are removed below 25 % free only; "
            "write less than 25, or lower kubernetes.image_gc_high: else builds wait for ever",
        ),
        (
            "buildkit: {cache: 400G}",
            "7: buildkit.cache: 400G is not less than its filesystem, 400G; "
            "write a size below it, or remove the line for the default",
        ),
        (
            "buildkit: {cache: 220G}",
            "7: buildkit.cache: 220G is 55 % of the disk; the kubelet, which cannot remove it, cleans down to 60 %; "
            "write at most 200G, or remove the line for the default",
        ),
        (
            "kubernetes: {image_gc_low: 35}",
            "7: buildkit.cache: 120G is 30 % of the disk; the kubelet, which cannot remove it, cleans down to 35 %; "
            "write at most 100G, or remove the line for the default",
        ),
        (
            "buildkit: {memory: 64G}",
            "7: buildkit.memory: one build may use 64G, the machine has 64G; write less than machine.memory, like 2G",
        ),
        (
            "buildkit: {disk: 1T}",
            "7: buildkit.disk: one build may use 1T, the disk has 400G; write less than that, like 2G",
        ),
        (
            "binderhub: {quota: 113}",
            "7: binderhub.quota: 113 sessions and builds do not fit in 112 pods (kubernetes.max_pods); "
            "write less, or remove the line for the default",
        ),
        (
            "kubernetes: {pod_network: 10.42.0.0/25}",
            "7: kubernetes.pod_network: 10.42.0.0/25 has 128 addresses for 112 pods; "
            "write a network with 224 or more, like 10.42.0.0/16",
        ),
        (
            "binderhub: {session: {memory_limit: 400M}}",
            "7: binderhub.session.memory_limit: 400M is less than what is guaranteed, 450M; write 450M or more",
        ),
        (
            "binderhub: {session: {cpu_guarantee: 2}}",
            "7: binderhub.session.cpu_limit: 1 is less than what is guaranteed, 2; write 2 or more",
        ),
        (
            "binderhub: {session: {memory_guarantee: 64G, memory_limit: 64G}}",
            "7: binderhub.session.memory_guarantee: one session reserves 64G, the machine has 64G; "
            "write less than machine.memory, like 450M",
        ),
        (
            "kubernetes: {service_network: 10.10.5.0/24}",
            "7: buildkit.network: 10.10.0.0/16 overlaps 10.10.5.0/24 (kubernetes.service_network); "
            "write a private network of its own, like 10.44.0.0/16",
        ),
        (
            "buildkit: {network: 198.18.0.0/16}",
            "7: buildkit.network: 198.18.0.0/16 overlaps 198.18.0.0/24 (provider.network); "
            "write a private network of its own, like 10.44.0.0/16",
        ),
        (
            "provider: {kind: local, network: 198.18.0.0/30, address: 198.18.0.2}",
            "2: provider.network: 198.18.0.0/30 has no room for a bridge, a machine and more; "
            "write a network of /29 or larger, like 198.18.0.0/24",
        ),
        (
            "provider: {kind: local, address: 198.18.1.5}",
            "2: provider.address: 198.18.1.5 is not in provider.network, 198.18.0.0/24; "
            "write one from 198.18.0.2 to 198.18.0.254",
        ),
        (
            "provider: {kind: local, address: 198.18.0.255}",
            "2: provider.address: 198.18.0.255 is the network's own or its broadcast address; "
            "write one from 198.18.0.2 to 198.18.0.254",
        ),
        (
            "provider: {kind: local, address: 198.18.0.1}",
            "2: provider.address: 198.18.0.1 is the bridge's own address; write one from 198.18.0.2 to 198.18.0.254",
        ),
        (
            "federation: {weight: 5}",
            "7: federation.member: a weight of 5 needs the member's name; "
            "write its name in the federation's config, like bids-ovh, or weight: 0",
        ),
        (
            "machine: {cpus: 8, memory: 64G, disk: 400G, data_disk: auto}",
            "3: machine.data_disk: a machine of kind local has one disk, on which its state lies already; "
            "remove the line",
        ),
    ],
)
def test_each_rule_alone(say: Say, line: str, said: str) -> None:
    assert say(line) == [said]


def test_images_are_removed_before_pods_are_evicted(say: Say) -> None:
    """Cannot be broken alone: a builds' line that fits in between is broken with it."""
    assert say("kubernetes: {image_gc_high: 90}") == [
        "7: buildkit.wait_below: builds wait below 15 % free, but images are removed below 10 % free only; "
        "write less than 10, or lower kubernetes.image_gc_high: else builds wait for ever",
        "7: kubernetes.image_gc_high: pods are evicted at 92 % use, images removed at 90 % only; "
        "write 87 or less, or lower evict_below",
    ]


def test_the_machine_is_not_in_a_network_of_the_node(say: Say) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    assert say(f"provider: {{kind: ssh, address: 10.42.0.5, host_key: {key}}}") == [
        "2: kubernetes.pod_network: 10.42.0.0/16 overlaps 10.42.0.5/32 (provider.address); "
        "write a private network of its own, like 10.44.0.0/16"
    ]


def test_an_operators_key_may_be_elsewhere_but_must_be_one(say: Say, tmp_path: Path) -> None:
    assert say("provider: {kind: ssh, address: 203.0.113.9, identity: ./key}") == []
    assert say("provider: {kind: ssh, address: 203.0.113.9, identity: agent}") == []
    (tmp_path / "key").write_text("ssh-ed25519 AAAA\n")
    assert say("provider: {kind: ssh, address: 203.0.113.9, identity: ./key}") == [
        f"2: provider.identity: {tmp_path}/key has no line with PRIVATE KEY-----; name a PEM file"
    ]


def test_a_bucket_at_hetzner_is_in_the_servers_network_zone(say: Say) -> None:
    bucket = 'storage: {kind: s3, endpoint: "https://nbg1.your-objectstorage.com", bucket: bids-registry}'
    assert say("provider: {kind: hetzner, types: [ccx63], locations: [nbg1, hel1]}", bucket) == []
    assert say("provider: {kind: hetzner, types: [ccx63], locations: [nbg1, ash]}", bucket) == [
        "2: provider.locations[1]: ash is in us-east, the bucket's nbg1 in eu-central; "
        "write fsn1 or nbg1 or hel1, or take a bucket there"
    ]
    # A bucket elsewhere is the operator's own business, and so is a location that is newer than this.
    elsewhere = 'storage: {kind: s3, endpoint: "https://s3.example.net", bucket: bids-registry}'
    assert say("provider: {kind: hetzner, types: [ccx63], locations: [ash]}", elsewhere) == []
    assert say("provider: {kind: hetzner, types: [ccx63], locations: [mars1]}", bucket) == []


@pytest.mark.parametrize("size", ["9G", "11T", "10500M"])
def test_a_volume_has_a_size_that_hetzner_makes(say: Say, size: str) -> None:
    said = say(f"provider: {{kind: hetzner, types: [ccx63], volume: {size}}}")
    assert f"2: provider.volume: {size} is no size of a volume; write whole GB from 10G to 10T, like 500G" in said


def test_a_volume_and_a_data_disk_would_be_mounted_at_one_place(say: Say) -> None:
    machine = "machine: {cpus: 8, memory: 64G, disk: 500G, data_disk: auto}"
    said = say("provider: {kind: hetzner, types: [ccx63], volume: 500G}", machine)
    assert [line for line in said if "data_disk" in line] == [
        "3: machine.data_disk: provider.volume (500G) is mounted there already; remove one of the two"
    ]


def test_a_fresh_servers_ssh_is_at_22(say: Say) -> None:
    assert say("provider: {kind: hetzner, types: [ccx63]}", "ssh: {port: 2222}") == [
        "7: ssh.port: a fresh server's sshd listens at 22, not at 2222; write 22, or remove the line"
    ]


def test_a_member_that_its_federation_deploys_says_all_that_the_deploy_needs(say: Say, tmp_path: Path) -> None:
    assert [line.partition(";")[0] for line in say("deploy: federation")] == [
        "5: tls.mode: none: the federation's chart orders certificates by ACME for all its names",
        "6: storage.kind: the federation's registry is a pod, and MinIO on the node answers no pod",
        "7: federation.member: is missing: the federation's files are called so",
        "7: kubernetes.api_from: lets nobody in: the central deploy talks to the API itself",
        "7: kubernetes.operators: names nobody: the central deploy needs a kubeconfig of its own",
    ]
    enough = (
        "deploy: federation",
        "federation: {member: lab}",
        "tls: {mode: acme, email: ops@example.org}",
        "storage: {kind: s3, endpoint: 'https://s3.example.net', bucket: lab-registry}",
        "kubernetes: {api_from: [0.0.0.0/0], operators: [deploy]}",
    )
    assert say(*enough) == []
    (tmp_path / "v.yaml").write_text("{}")
    assert say(*enough, "binderhub: {values: [v.yaml]}") == [
        "10: binderhub.values: are not read by the federation's central deploy; "
        "take them out, and write them into the federation's chart"
    ]


def test_a_sponsor_has_a_page(say: Say) -> None:
    assert say("federation: {member: lab, sponsor: Lab}") == [
        "7: federation.sponsor_url: is missing: the banner links Lab to it; write its URL"
    ]
    assert say("federation: {member: lab, sponsor: '<b>'}")[0].startswith("7: federation.sponsor: '<b>' is not allowed")


def test_files_must_be_there(say: Say, tmp_path: Path) -> None:
    assert say("tls: {mode: files, certificate: c.pem, key: k.pem}", "binderhub: {values: [v.yaml]}") == [
        f"5: tls.certificate: there is no file {tmp_path}/c.pem; "
        "write a path relative to the inventory's folder, or an absolute one",
        f"5: tls.key: there is no file {tmp_path}/k.pem; "
        "write a path relative to the inventory's folder, or an absolute one",
        f"7: binderhub.values[0]: there is no file {tmp_path}/v.yaml; "
        "write a path relative to the inventory's folder, or an absolute one",
    ]


def test_files_must_be_what_they_are_named_as(say: Say, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "k.pem").write_bytes(b"\xff\x00")
    assert say("tls: {mode: files, certificate: c.pem, key: c.pem}") == [
        f"5: tls.key: {tmp_path}/c.pem has no line with PRIVATE KEY-----; name a PEM file"
    ]
    assert say("tls: {mode: files, certificate: c.pem, key: k.pem}") == [
        f"5: tls.key: {tmp_path}/k.pem is not a text file; name a PEM file"
    ]
    (tmp_path / "k.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    assert say("tls: {mode: files, certificate: c.pem, key: k.pem}") == []


def test_a_wrong_section_silences_only_the_rules_that_read_it(say: Say) -> None:
    said = say("buildkit: {mtu: 5, cache: 1T}", "kubernetes: {image_gc_low: 80}")
    assert [line.split(": ")[1] for line in said] == ["buildkit.mtu", "kubernetes.image_gc_low"]


def test_rules_name_sections_that_exist() -> None:
    from binder_node.spec.model import Spec

    assert {need for rule in RULES for need in rule.needs} <= set(Spec.model_fields)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["metrics: {disk: 100G}"],
            "7: metrics.disk: 100G is not between 200M and a fifth of the disk; remove the line for the default",
        ),
        (
            ["metrics: {memory: 100M}"],
            "7: metrics.memory: 100M is not between 200M and a quarter of the machine's memory; "
            "remove the line for the default",
        ),
        (
            ["alerts: {to: [mail], mail_to: [ops@example.org]}"],
            "7: alerts.to: mail needs alerts.mail_from, alerts.mail_server; write them",
        ),
        (
            ["alerts: {to: [zulip], zulip: 'https://chat.example.org'}"],
            "7: alerts.to: zulip needs alerts.zulip_stream; write it",
        ),
        (
            ["metrics: {enabled: false}", "alerts: {deadman: true}"],
            "8: alerts.deadman: nothing measures this node, so that nobody is ever told; "
            "write metrics.enabled: true, or take the lines out",
        ),
    ],
)
def test_metrics_and_alerts(lines: list[str], said: str, say: Say) -> None:
    assert say(*lines) == [said]


def test_a_small_machine_measures_nothing_unless_told_to(say: Say) -> None:
    assert say("machine: {cpus: 2, memory: 3G, disk: 20G}") == []
    assert say("machine: {cpus: 2, memory: 3G, disk: 2G}", "metrics: {enabled: true}", "buildkit: {disk: 1G}") == []
