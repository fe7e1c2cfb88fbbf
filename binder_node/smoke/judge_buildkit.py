"""What buildkitd shows, judged. Pure: `buildctl`'s own documents in, a Trouble or None out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from binder_node.smoke.checks import Trouble
from binder_node.spec.model import BuildKit

AGAIN = "`binder-node up` puts it right"
LABEL = "org.mobyproject.buildkit.worker."
GB = 10**9
# The collector looks after each build and every minute; a running build is over the limit for a while.
OVER = 1.25


def workers(text: str) -> list[dict[str, Any]]:
    """What ``buildctl debug workers --format '{{json .}}'`` printed; an empty list where it is nothing of the kind."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return found if isinstance(found, list) else [found]


def worker(found: Sequence[Mapping[str, Any]], wanted: BuildKit, arch: str) -> Trouble | None:
    """One worker, of the kind that the inventory says, for the machine's own architecture."""
    kinds = [label(item, "executor") for item in found]
    if kinds != [wanted.worker]:
        return Trouble(f"its workers are {', '.join(kinds) or 'none'}, not {wanted.worker}", AGAIN)
    platforms = [f"{item.get('os')}/{item.get('architecture')}" for item in found[0].get("platforms") or ()]
    if f"linux/{arch}" not in platforms:
        return Trouble(f"it builds for {', '.join(platforms) or 'nothing'}, not linux/{arch}", "see machine.arch")
    return None


def label(item: Mapping[str, Any], name: str) -> str:
    """A worker's label by its last part."""
    return str((item.get("labels") or {}).get(LABEL + name, ""))


def network(item: Mapping[str, Any]) -> Trouble | None:
    """Steps have a network of their own: in the host's they reach every service of the node."""
    mode = label(item, "network")
    if mode == "cni":
        return None
    return Trouble(f"build steps run in the network {mode or 'of the host'}, not in one of their own", AGAIN)


def bridge(text: str, wanted: BuildKit, ports: Mapping[str, str]) -> Trouble | None:
    """``text``: the network's configuration; ``ports``: MTU of each that a running build has."""
    try:
        plugin: dict[str, Any] = next(iter(json.loads(text).get("plugins") or ()), {})
    except (ValueError, AttributeError):
        return Trouble("the build network's file is no network configuration: builds cannot start", AGAIN)
    subnets = [item.get("subnet") for ranges in plugin.get("ipam", {}).get("ranges") or () for item in ranges]
    wrong = [
        f"{what} is {real}, not {said}"
        for what, real, said in (
            ("its MTU", plugin.get("mtu"), wanted.mtu),
            ("its network", subnets[0] if subnets else None, str(wanted.network)),
            ("isolation of steps", plugin.get("portIsolation"), True),
        )
        if real != said
    ]
    wrong += [
        f"the MTU of {name} is {real}, not {wanted.mtu}" for name, real in ports.items() if int(real) > wanted.mtu
    ]
    return Trouble(f"the build network: {'; '.join(wrong)}", AGAIN) if wrong else None


def collector(item: Mapping[str, Any], wanted: BuildKit, disk: int) -> Trouble | None:
    """The limits that it runs with, against the filesystem that its cache really lies on (``disk`` bytes)."""
    policies = item.get("gcPolicy") or item.get("GCPolicy") or []
    last = next((policy for policy in policies if policy.get("all")), None)
    if last is None:
        return Trouble("no policy of its collector takes everything: the cache only grows", AGAIN)
    limits = [int(policy.get("maxUsedSpace") or 0) for policy in policies]
    if not all(limits) or max(limits) > disk:
        much = "no limit" if not all(limits) else f"{max(limits) / GB:.0f} GB"
        return Trouble(
            f"its cache may take {much} on a filesystem of {disk / GB:.0f} GB",
            "correct buildkit.cache (and machine.disk, from which it follows), then `binder-node up`",
        )
    if max(limits) != int(wanted.cache):
        return Trouble(f"its cache is limited to {max(limits)} bytes, not to {int(wanted.cache)}", AGAIN)
    if not last.get("minFreeSpace"):
        return Trouble("its collector keeps no space free", AGAIN)
    return None


def cache_size(used: int, wanted: BuildKit) -> Trouble | None:
    """Bytes that the cache takes. Far over its limit nothing collects it."""
    if used <= OVER * int(wanted.cache):
        return None
    return Trouble(
        f"its cache is {used / GB:.1f} GB, over its limit of {int(wanted.cache) / GB:.1f} GB",
        "buildctl prune; see `binder-node logs NODE buildkit` for why it was not collected",
    )


def total(text: str) -> int:
    """Bytes in all, of what ``buildctl du --format '{{json .}}'`` printed: one record a line, or one list."""
    decoder, position, size = json.JSONDecoder(), 0, 0
    text = text.strip()
    while position < len(text):
        found, position = decoder.raw_decode(text, position)
        # An empty cache is `null`.
        for record in found if isinstance(found, list) else filter(None, [found]):
            size += int(record.get("size") or 0)
        while position < len(text) and text[position].isspace():
            position += 1
    return size


def guard(state: str, command: str, limit: int) -> Trouble | None:
    """The guard of what builds write runs, with the inventory's limit in its command line."""
    if state != "active":
        return Trouble(f"the guard is {state}: a build may fill the disk", "systemctl start binder-node-guard")
    if f"--limit {limit}" not in command:
        return Trouble(f"the guard runs without its limit of {limit} bytes: {command}", AGAIN)
    return None


def files(wanted: Mapping[str, str], seen: Mapping[str, str]) -> Trouble | None:
    """Digests by path."""
    wrong = [
        f"{path} {'is changed' if path in seen else 'is missing'}" for path in wanted if seen.get(path) != wanted[path]
    ]
    if not wrong:
        return None
    return Trouble(", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""), AGAIN)
