"""What must hold between keys, one rule a function. A rule runs when the sections that it needs are valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

from binder_node.hostkeys import fingerprint
from binder_node.spec.keys import Key, dotted
from binder_node.spec.model import LocalProvider, NodeStorage, Spec, SshProvider
from binder_node.spec.public import AcmeTls, FilesTls, ZoneDns
from binder_node.spec.quantity import shortest
from binder_node.spec.sizing import GB, IDLE

# Less than this is not a node: the airgap images, the binaries and one built image alone take about as much.
LEAST_DISK = 2 * GB
# Between the kubelet's removal of images and its eviction of pods, in percent of the disk: it looks every 5 minutes.
GC_MARGIN = 5
# Between a cache at its limit and the level down to which the kubelet removes images: room for the images in use.
IMAGE_MARGIN = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A broken rule: at ``key``, what is wrong, what would be right.

    ``against``: the keys that ``key`` does not go together with. Where ``key`` stands at its default, one of these
    is what the operator wrote, and its line is the one to show.
    """

    key: Key
    wrong: str
    right: str
    against: tuple[Key, ...] = ()


Check = Callable[[Spec], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """``needs``: the top-level sections that ``check`` reads."""

    needs: frozenset[str]
    check: Check


RULES: list[Rule] = []


def rule(*needs: str) -> Callable[[Check], Check]:
    """Register a rule over the sections ``needs``."""

    def register(check: Check) -> Check:
        RULES.append(Rule(frozenset(needs), check))
        return check

    return register


def broken(spec: Spec, invalid: Iterable[str] = ()) -> Iterator[Found]:
    """What ``spec`` breaks; rules that read one of the ``invalid`` sections are left out."""
    left_out = set(invalid)
    for one in RULES:
        if not one.needs & left_out:
            found = list(one.check(spec))
            yield from found
            if found and one.check is machine_is_large_enough:
                left_out.add("machine")  # nothing fits in it: one sentence is enough


@rule("machine", "provider")
def machine_is_large_enough(spec: Spec) -> Iterator[Found]:
    machine = spec.machine
    if machine.memory <= IDLE:
        wrong = f"{machine.memory} is less than an idle node uses ({shortest(IDLE)})"
        yield Found(("machine", "memory"), wrong, "write the machine's RAM with its unit, like 32G")
    if machine.disk < LEAST_DISK:
        wrong = f"{machine.disk} does not hold a node's own images"
        yield Found(
            ("machine", "disk"), wrong, f"write the size with its unit, like 240G; at least {shortest(LEAST_DISK)}"
        )
    if spec.state_disk < LEAST_DISK <= machine.disk:
        wrong = f"{shortest(spec.state_disk)} does not hold a node's own images"
        key = "disk_image" if isinstance(spec.provider, LocalProvider) else "volume"
        yield Found(("provider", key), wrong, f"write {shortest(LEAST_DISK)} or more")


@rule("machine", "provider")
def local_machines_have_one_disk(spec: Spec) -> Iterator[Found]:
    if isinstance(spec.provider, LocalProvider) and spec.machine.data_disk is not None:
        wrong = "a machine of kind local has one disk, on which its state lies already"
        yield Found(("machine", "data_disk"), wrong, "remove the line", (("provider", "kind"),))


@rule("machine")
def state_is_absolute(spec: Spec) -> Iterator[Found]:
    state = spec.machine.state
    if not state.is_absolute() or ".." in state.parts or state == Path("/"):
        right = "write the absolute path of a folder on the machine, like /var/lib/binder-node"
        yield Found(("machine", "state"), f"'{state}' cannot be the state folder", right)


@rule("names")
def names_are_distinct(spec: Spec) -> Iterator[Found]:
    names = spec.names
    for name, other in (("hub", "binder"), ("registry", "binder"), ("registry", "hub")):
        if getattr(names, name) == getattr(names, other):
            wrong = f"'{getattr(names, name)}' is the name of names.{other} too"
            yield Found(
                ("names", name), wrong, f"give it a name of its own, like {name}.{names.binder}", (("names", other),)
            )


@rule("name", "replaces")
def a_node_replaces_another(spec: Spec) -> Iterator[Found]:
    if spec.replaces == spec.name:
        yield Found(("replaces",), f"'{spec.name}' is this node", "write the other one's name", (("name",),))


@rule("names", "dns")
def names_are_in_the_zone(spec: Spec) -> Iterator[Found]:
    if not isinstance(spec.dns, ZoneDns):
        return
    zone = spec.dns.zone
    for name in ("binder", "hub", "registry"):
        value = getattr(spec.names, name)
        if value != zone and not value.endswith(f".{zone}"):
            wrong = f"'{value}' is not in the zone {zone} (dns.zone)"
            yield Found(("names", name), wrong, f"write a name that ends with .{zone}", (("dns", "zone"),))


@rule("kubernetes")
def collectors_of_the_kubelet_are_in_order(spec: Spec) -> Iterator[Found]:
    kubernetes = spec.kubernetes
    low, high, evict = kubernetes.image_gc_low, kubernetes.image_gc_high, kubernetes.evict_below
    if low >= high:
        wrong = f"the kubelet would stop at {low} % what it begins at {high} %"
        yield Found(
            ("kubernetes", "image_gc_low"),
            wrong,
            f"write less than image_gc_high, {high}",
            (("kubernetes", "image_gc_high"),),
        )
    if high > 100 - evict - GC_MARGIN:
        wrong = f"pods are evicted at {100 - evict} % use, images removed at {high} % only"
        yield Found(
            ("kubernetes", "image_gc_high"),
            wrong,
            f"write {100 - evict - GC_MARGIN} or less, or lower evict_below",
            (("kubernetes", "evict_below"),),
        )


@rule("kubernetes", "buildkit")
def collectors_act_one_after_another(spec: Spec) -> Iterator[Found]:
    kubernetes, build = spec.kubernetes, spec.buildkit
    if build.keep_free <= build.wait_below:
        wrong = f"builds wait below {build.wait_below} % free, the cache is pruned below {build.keep_free} % only"
        yield Found(
            ("buildkit", "keep_free"),
            wrong,
            f"write more than wait_below, {build.wait_below}",
            (("buildkit", "wait_below"),),
        )
    if build.wait_below <= kubernetes.evict_below:
        wrong = f"pods are evicted below {kubernetes.evict_below} % free, builds wait below {build.wait_below} % only"
        yield Found(
            ("buildkit", "wait_below"),
            wrong,
            f"write more than kubernetes.evict_below, {kubernetes.evict_below}",
            (("kubernetes", "evict_below"),),
        )
    if 100 - kubernetes.image_gc_high <= build.wait_below:
        free = 100 - kubernetes.image_gc_high
        wrong = f"builds wait below {build.wait_below} % free, but images are removed below {free} % free only"
        right = f"write less than {free}, or lower kubernetes.image_gc_high: else builds wait for ever"
        yield Found(("buildkit", "wait_below"), wrong, right, (("kubernetes", "image_gc_high"),))


@rule("machine", "provider", "storage", "registry")
def the_nodes_own_registry_fits(spec: Spec) -> Iterator[Found]:
    size = spec.registry.size
    if size is not None and isinstance(spec.storage, NodeStorage) and size >= spec.state_disk:
        wrong = f"{size} is not less than its filesystem, {shortest(spec.state_disk)}"
        yield Found(("registry", "size"), wrong, "write a size below it, or remove the line for the default")


@rule("machine", "provider", "kubernetes", "buildkit")
def cache_leaves_room_for_images(spec: Spec) -> Iterator[Found]:
    cache, disk, low = spec.buildkit.cache, spec.state_disk, spec.kubernetes.image_gc_low
    if cache >= disk:
        wrong = f"{cache} is not less than its filesystem, {shortest(disk)}"
        yield Found(("buildkit", "cache"), wrong, "write a size below it, or remove the line for the default")
    elif cache * 100 > (low - IMAGE_MARGIN) * disk:
        share = 100 * cache / disk
        wrong = f"{cache} is {share:.0f} % of the disk; the kubelet, which cannot remove it, cleans down to {low} %"
        largest = shortest((low - IMAGE_MARGIN) * disk // 100 // 10**6 * 10**6) if low > IMAGE_MARGIN else "less"
        yield Found(
            ("buildkit", "cache"),
            wrong,
            f"write at most {largest}, or remove the line for the default",
            (("kubernetes", "image_gc_low"),),
        )


@rule("machine", "buildkit")
def build_fits_in_memory(spec: Spec) -> Iterator[Found]:
    if spec.buildkit.memory >= spec.machine.memory:
        wrong = f"one build may use {spec.buildkit.memory}, the machine has {spec.machine.memory}"
        yield Found(("buildkit", "memory"), wrong, "write less than machine.memory, like 2G", (("machine", "memory"),))


@rule("machine", "provider", "buildkit")
def build_fits_on_disk(spec: Spec) -> Iterator[Found]:
    if spec.buildkit.disk >= spec.state_disk:
        wrong = f"one build may use {spec.buildkit.disk}, the disk has {shortest(spec.state_disk)}"
        against = (("provider", "disk_image"), ("provider", "volume"), ("machine", "disk"))
        yield Found(("buildkit", "disk"), wrong, "write less than that, like 2G", against)


@rule("kubernetes", "binderhub", "machine")
def quota_fits(spec: Spec) -> Iterator[Found]:
    quota, pods = spec.binderhub.quota, spec.kubernetes.max_pods
    if quota > pods:
        wrong = f"{quota} sessions and builds do not fit in {pods} pods (kubernetes.max_pods)"
        yield Found(
            ("binderhub", "quota"),
            wrong,
            "write less, or remove the line for the default",
            (("kubernetes", "max_pods"),),
        )


@rule("kubernetes", "machine")
def pods_have_addresses(spec: Spec) -> Iterator[Found]:
    network, pods = spec.kubernetes.pod_network, spec.kubernetes.max_pods
    # Kubernetes' own advice: twice as many addresses as pods, so that none is used again at once.
    if network.num_addresses < 2 * pods:
        wrong = f"{network} has {network.num_addresses} addresses for {pods} pods"
        yield Found(
            ("kubernetes", "pod_network"),
            wrong,
            f"write a network with {2 * pods} or more, like 10.42.0.0/16",
            (("kubernetes", "max_pods"),),
        )


@rule("binderhub")
def session_limits_are_not_below_guarantees(spec: Spec) -> Iterator[Found]:
    session = spec.binderhub.session
    if session.memory_limit < session.memory_guarantee:
        wrong = f"{session.memory_limit} is less than what is guaranteed, {session.memory_guarantee}"
        yield Found(
            ("binderhub", "session", "memory_limit"),
            wrong,
            f"write {session.memory_guarantee} or more",
            (("binderhub", "session", "memory_guarantee"),),
        )
    if session.cpu_limit < session.cpu_guarantee:
        wrong = f"{session.cpu_limit:g} is less than what is guaranteed, {session.cpu_guarantee:g}"
        yield Found(
            ("binderhub", "session", "cpu_limit"),
            wrong,
            f"write {session.cpu_guarantee:g} or more",
            (("binderhub", "session", "cpu_guarantee"),),
        )


@rule("machine", "binderhub")
def session_fits(spec: Spec) -> Iterator[Found]:
    guarantee = spec.binderhub.session.memory_guarantee
    if guarantee >= spec.machine.memory:
        wrong = f"one session reserves {guarantee}, the machine has {spec.machine.memory}"
        yield Found(("binderhub", "session", "memory_guarantee"), wrong, "write less than machine.memory, like 450M")


def networks(spec: Spec) -> list[tuple[Key, IPv4Network]]:
    """Every network that the node uses itself."""
    found: list[tuple[Key, IPv4Network]] = []
    if isinstance(spec.provider, LocalProvider):
        found.append((("provider", "network"), spec.provider.network))
    elif isinstance(spec.provider, SshProvider):
        found.append((("provider", "address"), IPv4Network(spec.provider.address)))
    found.append((("kubernetes", "pod_network"), spec.kubernetes.pod_network))
    found.append((("kubernetes", "service_network"), spec.kubernetes.service_network))
    found.append((("buildkit", "network"), spec.buildkit.network))
    return found


@rule("provider", "kubernetes", "buildkit")
def networks_do_not_overlap(spec: Spec) -> Iterator[Found]:
    for (first_key, first), (key, network) in combinations(networks(spec), 2):
        if first.overlaps(network):
            wrong = f"{network} overlaps {first} ({dotted(first_key)})"
            yield Found(key, wrong, "write a private network of its own, like 10.44.0.0/16", (first_key,))


@rule("provider")
def local_address_is_a_host_of_its_network(spec: Spec) -> Iterator[Found]:
    provider = spec.provider
    if not isinstance(provider, LocalProvider):
        return
    network, address = provider.network, provider.address
    key = ("provider", "address")
    if network.prefixlen > 29:
        wrong = f"{network} has no room for a bridge, a machine and more"
        yield Found(("provider", "network"), wrong, "write a network of /29 or larger, like 198.18.0.0/24")
        return
    right = f"write one from {network[2]} to {network[-2]}"
    if address not in network:
        yield Found(key, f"{address} is not in provider.network, {network}", right, (("provider", "network"),))
    elif address in (network[0], network[-1]):
        yield Found(key, f"{address} is the network's own or its broadcast address", right, (("provider", "network"),))
    elif address == network[1]:
        yield Found(key, f"{address} is the bridge's own address", right, (("provider", "network"),))


@rule("federation")
def weight_needs_a_member(spec: Spec) -> Iterator[Found]:
    if spec.federation.weight > 0 and not spec.federation.member:
        wrong = f"a weight of {spec.federation.weight} needs the member's name"
        yield Found(
            ("federation", "member"),
            wrong,
            "write its name in the federation's config, like bids-ovh, or weight: 0",
            (("federation", "weight"),),
        )


@rule("backup")
def a_place_for_backups_is_said_whole(spec: Spec) -> Iterator[Found]:
    backup = spec.backup
    if backup.endpoint is not None and backup.bucket is None:
        wrong = f"{backup.endpoint} needs a bucket"
        right = "write backup.bucket, or remove the line for the registry's"
        yield Found(("backup", "endpoint"), wrong, right)
    if backup.bucket is not None and backup.endpoint is None:
        right = "write backup.endpoint, or remove the line for the registry's bucket"
        yield Found(("backup", "bucket"), f"'{backup.bucket}' is at no endpoint", right)


@rule("tls")
def tls_files_exist(spec: Spec) -> Iterator[Found]:
    if isinstance(spec.tls, FilesTls):
        yield from _file(("tls", "certificate"), spec.tls.certificate, "-----BEGIN CERTIFICATE-----")
        yield from _file(("tls", "key"), spec.tls.key, "PRIVATE KEY-----")
    elif isinstance(spec.tls, AcmeTls) and spec.tls.authority is not None:
        yield from _file(("tls", "authority"), spec.tls.authority, "-----BEGIN CERTIFICATE-----")


@rule("provider")
def identity_is_a_private_key(spec: Spec) -> Iterator[Found]:
    """One that is not here may be a colleague's: it lets in the first time only."""
    provider = spec.provider
    if isinstance(provider, SshProvider) and provider.identity is not None and provider.identity.exists():
        yield from _file(("provider", "identity"), provider.identity, "PRIVATE KEY-----")


@rule("provider")
def fingerprint_is_the_host_keys(spec: Spec) -> Iterator[Found]:
    provider = spec.provider
    if isinstance(provider, SshProvider) and provider.host_key is not None and provider.fingerprint is not None:
        try:
            real = fingerprint(provider.host_key)
        except ValueError:
            yield Found(("provider", "host_key"), "is no public key", "copy it whole, in one line")
            return
        if real != provider.fingerprint:
            wrong = f"provider.host_key has another one, {real}"
            yield Found(("provider", "fingerprint"), wrong, "correct one of the two", (("provider", "host_key"),))


@rule("binderhub")
def values_files_exist(spec: Spec) -> Iterator[Found]:
    for index, path in enumerate(spec.binderhub.values):
        yield from _file(("binderhub", "values", index), path, "")


def _file(key: Key, path: Path, marker: str) -> Iterator[Found]:
    """``marker``: what the text must contain."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        yield Found(
            key, f"there is no file {path}", "write a path relative to the inventory's folder, or an absolute one"
        )
    except OSError as error:
        yield Found(key, f"{path} cannot be read: {error.strerror}", "name a file that you may read")
    except UnicodeDecodeError:
        yield Found(key, f"{path} is not a text file", "name a PEM file" if marker else "name a YAML file")
    else:
        if marker not in text:
            yield Found(key, f"{path} has no line with {marker}", "name a PEM file")
