"""The node's one nftables table, rendered whole from the Spec; docs/explanation/firewall.md tells each rule's reason.

It is ours alone and replaced in one transaction. kube-proxy and K3s keep theirs; nothing here flushes a ruleset.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from binder_node.host import limits
from binder_node.host.observe import script
from binder_node.host.wanted import Component, File, Folder, Unit, unit_file
from binder_node.layout import API_PORT, ETC, LIB, OUTWARD, PULL_PORT, RESERVED
from binder_node.spec.model import Spec

RULES = str(ETC / "firewall.nft")
UNIT = "binder-node-firewall.service"
TABLE = "binder_node"
# The bridge that BuildKit's network plugin makes (see buildkit.py).
BRIDGE = "buildkit0"
# The bridge of K3s's own network plugin (flannel), on which every pod is.
PODS = "cni0"

# Of Prometheus's node exporter.
METRICS_PORT = 9100

NO = "reject with icmpx admin-prohibited"


def firewall(spec: Spec) -> Component:
    """The table and the unit that loads it before the network is up."""
    return Component(
        "firewall",
        packages=("nftables",),
        folders=(Folder(str(LIB)),),
        files=(File(RULES, whole(spec).encode()), File(limits.KEEP, script("keep").encode())),
        units=(Unit(UNIT, _unit(spec), restart_on=(RULES,)),),
    )


def table(spec: Spec) -> str:
    """The table for ``nft -f``: made if missing, dropped and made anew, in one transaction."""
    chains = [
        _sets(),
        limits.sets(spec.abuse),
        _chain("asks", None, limits.asks(spec.abuse)),
        _chain("meets", None, limits.meets(spec.abuse)),
        _chain("from_outside", None, _from_outside(spec)),
        _chain("from_builds", None, _from_builds()),
        _chain("from_pods", None, _from_pods()),
        _chain("refuse", None, ["meta l4proto tcp reject with tcp reset", NO]),
        _chain("arrive", "type filter hook prerouting priority mangle; policy accept;", _arrive(spec)),
        _chain("input", "type filter hook input priority -10; policy accept;", _input(spec)),
        _chain("forward", "type filter hook forward priority -10; policy accept;", _forward(spec)),
        _chain("leave", "type nat hook postrouting priority srcnat; policy accept;", _leave(spec)),
    ]
    return (
        "# Made by binder-node from the inventory; docs/explanation/firewall.md explains it.\n"
        f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n" + "\n".join(chains) + "}\n"
    )


def whole(spec: Spec) -> str:
    """The file that is loaded: the table, and in the same transaction what the unit has just noted of the last one."""
    # Without the wildcard a missing file would be an error.
    return table(spec) + f'include "{limits.KEPT_FILE}*"\n'


def _chain(name: str, hook: str | None, rules: Iterable[str]) -> str:
    lines = [f"\t\t{rule}\n" for rule in ([hook] if hook else []) + list(rules)]
    return f"\tchain {name} {{\n{''.join(lines)}\t}}\n"


def _sets() -> str:
    reserved = ",\n\t\t\t".join(RESERVED)
    return (
        "\tset reserved {\n\t\ttype ipv4_addr; flags interval; auto-merge;\n"
        f"\t\telements = {{\n\t\t\t{reserved}\n\t\t}}\n\t}}\n"
    )


def _networks(networks: Iterable[IPv4Network]) -> str:
    return "{ " + ", ".join(str(network) for network in networks) + " }"


def _arrive(spec: Spec) -> list[str]:
    """What a build step asks for, judged by the address that it asked for: kube-proxy has rewritten nothing yet."""
    rules = []
    for source in (f"iifname {BRIDGE}", f"ip saddr {spec.buildkit.network}"):
        rules.append(
            f"{source} ct state new fib daddr type {{ local, broadcast, multicast }} counter name node jump refuse"
        )
        rules.append(f"{source} ct state new ip daddr @reserved counter name private jump refuse")
    return rules


def _input(spec: Spec) -> list[str]:
    # A central deploy's Prometheus asks the node exporter, which its chart puts on the host's network; there is no
    # registry on the host.
    ports = f"{METRICS_PORT}, {API_PORT}" if spec.central else f"{PULL_PORT}, {API_PORT}"
    return [
        "iifname lo accept",
        "ct state established,related accept",
        f'iifname {BRIDGE} counter name node jump refuse comment "builds reach nothing of the node"',
        f'ip saddr {spec.buildkit.network} counter name node jump refuse comment "nor by their address"',
        # The API server for controllers and the hub, the registry for BinderHub's questions. Which pod may ask is
        # NetworkPolicy's; the kubelet, MinIO and ssh answer no pod.
        f"ip saddr {spec.kubernetes.pod_network} tcp dport {{ {ports} }} accept",
        f'ip saddr {spec.kubernetes.pod_network} tcp dport {{ 80, 443 }} accept comment "its own public names"',
        f"ip saddr {spec.kubernetes.pod_network} counter name node jump refuse",
        "jump from_outside",
    ]


def _from_outside(spec: Spec) -> list[str]:
    rules = []
    if spec.ssh.admin_networks:
        rules.append(f"ip saddr {_networks(spec.ssh.admin_networks)} tcp dport {spec.ssh.port} accept")
    rules += [*limits.callers(), "tcp dport { 80, 443 } accept"]
    if spec.kubernetes.api_from:
        rules.append(f"ip saddr {_networks(spec.kubernetes.api_from)} tcp dport {API_PORT} accept")
    return [
        *rules,
        "icmp type { echo-request, destination-unreachable, time-exceeded, parameter-problem } accept",
        'meta l4proto ipv6-icmp accept comment "neighbour discovery"',
        'udp sport 67 udp dport 68 accept comment "DHCP"',
        'meta pkttype { broadcast, multicast } drop comment "nobody asked us"',
        "counter name outside jump refuse",
    ]


def _forward(spec: Spec) -> list[str]:
    pods, services, builds = spec.kubernetes.pod_network, spec.kubernetes.service_network, spec.buildkit.network
    inside = _networks((pods, services))
    # With a central deploy pods push images to a bucket: its own chart limits users'.
    upload = [] if spec.central else limits.upload(spec.abuse, _networks((pods, builds)), inside)
    return [
        *upload,
        "ct state established,related accept",
        f"iifname {BRIDGE} jump from_builds",
        f"ip saddr {builds} jump from_builds",
        f'oifname {BRIDGE} counter jump refuse comment "nobody calls a build step"',
        f'iifname {PODS} ip saddr != {pods} counter name false_source drop comment "a pod with another\'s address"',
        f'ip saddr {pods} ip daddr 169.254.0.0/16 counter name private jump refuse comment "metadata service"',
        f"ip saddr {pods} ip daddr != {inside} jump from_pods",
        f'ip saddr {pods} accept comment "NetworkPolicy decides by label"',
        *(f"ip daddr {inside} {rule}" for rule in limits.callers()),
        # Ingress arrives here after its address was rewritten; nothing else from outside has business with a pod.
        f"ip daddr {inside} meta l4proto {{ tcp, udp }} ct status dnat ct original proto-dst {{ 80, 443 }} accept",
        f"ip daddr {inside} counter name outside jump refuse",
    ]


def _from_pods() -> list[str]:
    return [
        "ct state invalid counter name invalid drop",
        # The cluster's own resolver asks the world for all pods; users' may not (NetworkPolicy).
        "udp dport 53 return",
        "ct state new jump asks",
    ]


def _from_builds() -> list[str]:
    outward = ", ".join(str(port) for port in OUTWARD)
    return [
        "meta nfproto ipv6 counter name private jump refuse",
        'ip daddr @reserved counter name private jump refuse comment "node, pods, neighbours, private networks"',
        "ct state invalid counter name invalid drop",
        "ct state new jump asks",
        # Behind the rest: who is cut takes nothing away from the others.
        f"ct state new limit rate over {limits.FLOOD_RATE}/second burst {limits.FLOOD_BURST} packets "
        'counter name flood jump refuse comment "all steps together, whatever source they say"',
        "meta l4proto { tcp, udp } th dport 53 accept",
        f"tcp dport {{ {outward} }} accept",
        "counter name port jump refuse",
    ]


def _leave(spec: Spec) -> list[str]:
    return [f"ip saddr {spec.buildkit.network} oifname != {BRIDGE} masquerade"]


def _unit(spec: Spec) -> str:
    kept = (*limits.KEPT, *([limits.FETCHED] if spec.abuse.banned_url else []))
    return unit_file(
        Unit=[
            ("Description", "Firewall (binder-node)"),
            ("Documentation", f"file://{RULES}"),
            ("DefaultDependencies", "no"),
            ("After", "local-fs.target systemd-modules-load.service"),
            ("Before", "network-pre.target shutdown.target k3s.service minio.service"),
            ("Wants", "network-pre.target"),
            ("Conflicts", "shutdown.target"),
        ],
        # No ExecStop: a stopped unit leaves the table where it is, and a restart replaces it in one transaction.
        Service=[
            ("Type", "oneshot"),
            ("RemainAfterExit", "yes"),
            # Who is cut stays cut.
            ("ExecStartPre", f"-/usr/bin/python3 {limits.KEEP} {limits.KEPT_FILE} {' '.join(kept)}"),
            ("ExecStart", f"/usr/sbin/nft -f {RULES}"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
