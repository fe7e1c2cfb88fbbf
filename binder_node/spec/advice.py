"""What is legal in a Spec but is known to hurt. Sources: issues of jupyterhub/mybinder.org-deploy by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

from binder_node.errors import Problem
from binder_node.spec import sizing
from binder_node.spec.keys import Key, dotted
from binder_node.spec.model import (
    HetznerProvider,
    LocalProvider,
    NodeStorage,
    OpenStackProvider,
    Spec,
    SshProvider,
)
from binder_node.spec.public import AcmeTls, NoTls
from binder_node.spec.quantity import shortest
from binder_node.spec.rules_clouds import bucket_location
from binder_node.spec.source import Source

Advice = tuple[Key, str, str]
# A member that joined with a high weight met a build storm: its registry is empty at first (#3173).
FIRST_WEIGHT = 20
# RFC 5737: addresses for documentation.
EXAMPLES = tuple(IPv4Network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
EXAMPLE_DOMAINS = ("example.com", "example.net", "example.org")  # RFC 2606


def warnings(spec: Spec, source: Source | None = None) -> list[Problem]:
    """What to think about again, in the inventory's order; with lines where its ``source`` is given."""
    found = [advice for check in CHECKS for advice in check(spec)]
    if source is None:
        return [Problem("", 0, dotted(key), wrong, right) for key, wrong, right in found]
    return sorted(source.problem(key, wrong, right) for key, wrong, right in found)


def _membership(spec: Spec) -> Iterator[Advice]:
    weight = spec.federation.weight
    if weight == 0:
        return
    if isinstance(spec.storage, NodeStorage):
        wrong = "MinIO's upstream is archived, and the bucket dies with the machine"
        yield ("storage", "kind"), wrong, "use an S3 endpoint beside the machine (kind: s3) for a member with weight"
    if isinstance(spec.tls, NoTls):
        yield ("tls", "mode"), "users of the federation come by https", "have one issued (mode: acme)"
    if weight > FIRST_WEIGHT:
        wrong = f"a new member with a weight of {weight} meets a storm of builds (#3173)"
        yield ("federation", "weight"), wrong, f"begin with {FIRST_WEIGHT} or less and go up by days"
    if spec.binderhub.replicas == 1:
        wrong = "one process means a gap at each upgrade of a member with weight"
        yield ("binderhub", "replicas"), wrong, "write 2, as the big members do"


def _sizes(spec: Spec) -> Iterator[Advice]:
    pods, memory = spec.kubernetes.max_pods, spec.machine.memory
    most = sizing.max_pods(memory)
    if pods > most:
        wrong = f"{pods} pods are more than {sizing.PODS_PER_GB:g} for each GB of {memory}"
        yield ("kubernetes", "max_pods"), wrong, f"write {most} or less, or remove the line for the default"
    quota, fits = spec.binderhub.quota, sizing.quota(memory, pods, spec.binderhub.session.memory_guarantee)
    if quota > fits:
        wrong = f"{quota} sessions and builds are more than the {fits} that fit in {memory} and {pods} pods"
        yield ("binderhub", "quota"), wrong, f"write {fits} or less, or remove the line for the default"
    if spec.binderhub.build_limit * spec.buildkit.memory > memory // 2:
        wrong = f"{spec.binderhub.build_limit} builds of {spec.buildkit.memory} may use more than half of {memory}"
        yield ("binderhub", "build_limit"), wrong, "write less, or lower buildkit.memory"


def _disk(spec: Spec) -> Iterator[Advice]:
    provider, free = spec.provider, 100 - spec.kubernetes.image_gc_high
    image = provider.disk_image if isinstance(provider, LocalProvider) else None
    if image is not None and spec.machine.disk > image:
        wrong = f"the state folder gets a disk of {image}, not of {spec.machine.disk}"
        yield ("machine", "disk"), wrong, f"write {image}: everything is sized for that"
    if spec.buildkit.keep_free <= free:
        wrong = f"images are removed below {free} % free, before the build cache ({spec.buildkit.keep_free} %)"
        yield ("buildkit", "keep_free"), wrong, f"write more than {free}: the cache is the cheapest thing to lose"
    if spec.buildkit.disk > spec.state_disk // 10:
        wrong = f"one build may write {spec.buildkit.disk}, more than a tenth of {shortest(spec.state_disk)}"
        yield ("buildkit", "disk"), wrong, "write less, or take a larger disk"


def _examples(spec: Spec) -> Iterator[Advice]:
    domain = spec.tls.email.rpartition("@")[2] if isinstance(spec.tls, AcmeTls) else ""
    if ".".join(domain.split(".")[-2:]) in EXAMPLE_DOMAINS:
        yield ("tls", "email"), f"{domain} is a domain for examples, which Let's Encrypt refuses", "write your own"
    provider = spec.provider
    if not isinstance(provider, SshProvider):
        return
    if any(provider.address in network for network in EXAMPLES):
        yield ("provider", "address"), f"{provider.address} is an address for examples", "write the machine's own"
    for name, right in (
        ("host_key", "copy /etc/ssh/ssh_host_ed25519_key.pub of the machine"),
        ("fingerprint", "write what the machine's console shows"),
    ):
        examples = SshProvider.model_fields[name].examples
        if examples and getattr(provider, name) == examples[0]:
            yield ("provider", name), "is the example's", right


def _hetzner(spec: Spec) -> Iterator[Advice]:
    provider, bucket = spec.provider, bucket_location(spec)
    if not isinstance(provider, HetznerProvider):
        return
    if bucket and provider.locations[0] != bucket:
        wrong = f"the server is wanted in {provider.locations[0]}, its bucket is in {bucket} (#3182)"
        yield ("provider", "locations"), wrong, f"put {bucket} first"
    if provider.max_price is None:
        yield ("provider", "max_price"), "prices change", "write what the node may cost a month, like 350"


def _openstack(spec: Spec) -> Iterator[Advice]:
    provider = spec.provider
    if not isinstance(provider, OpenStackProvider):
        return
    unpriced = [flavor for flavor in provider.flavors if flavor not in provider.prices]
    if unpriced and not (unpriced == [provider.flavors[0]] and spec.cost.machine is not None):
        wrong = f"nobody tells the price of {', '.join(unpriced)}: OpenStack has none"
        yield ("provider", "prices"), wrong, "write what a month costs, from the seller's list"
    if any(str(network) == "0.0.0.0/0" for network in spec.ssh.admin_networks):
        yield ("ssh", "admin_networks"), "ssh is let in from everywhere", "write the networks that you log in from"


CHECKS: tuple[Callable[[Spec], Iterator[Advice]], ...] = (_membership, _sizes, _disk, _examples, _hetzner, _openstack)
