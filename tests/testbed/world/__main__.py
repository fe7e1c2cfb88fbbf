"""``python -m tests.testbed.world up|down|repo``: the testbed's "internet" beside one node.

It has the network's address .10 (198.18.0.10): a git server on port 80 (``http://198.18.0.10/minimal.git``; also
fails, eats-memory, eats-disk, probe, slow, big) and a mirror of docker.io and quay.io on port 5080.
"""

from __future__ import annotations

import argparse
import os
import sys
from ipaddress import IPv4Network
from pathlib import Path

from binder_node.errors import BinderNodeError, InputError, Problem
from binder_node.providers.local.plan import network_bridge
from binder_node.spec.model import LocalProvider
from tests.testbed.images import recipes
from tests.testbed.world import content
from tests.testbed.world.host import HOST_PART, World

PINS = recipes.REPOSITORY / "tests/testbed/pins.toml"


def world_of(inventory: Path) -> World:
    """The world beside the node of an inventory. Raises InputError where that is no local one."""
    from binder_node.providers.local import bridge_name
    from binder_node.spec.load import load

    spec = load(inventory)
    if not isinstance(spec.provider, LocalProvider):
        raise InputError(Problem(str(inventory), 0, "provider.kind", spec.provider.kind, "the testbed's are local"))
    network = spec.provider.network
    return World(spec.name, bridge_name(spec), str(network[HOST_PART]), network.prefixlen, str(network[1]))


def world_in(network: IPv4Network) -> World:
    """The world in a network that a stand-in of a cloud has made; named after it."""
    name = str(network.network_address).replace(".", "-")
    return World(name, network_bridge(network), str(network[HOST_PART]), network.prefixlen, str(network[1]))


def registry_binary() -> Path:
    """Distribution: from ``BINDER_NODE_TEST_BIN``, else as the node gets it, by the testbed's pins."""
    ready = Path(os.environ.get("BINDER_NODE_TEST_BIN", "")) / "registry"
    if os.access(ready, os.X_OK) and ready.is_file():
        return ready
    from binder_node.artifacts.cache import Cache, default_root
    from binder_node.artifacts.pins import load_pins
    from binder_node.artifacts.store import Sources, Store

    pins = load_pins(Path(os.environ.get("BINDER_NODE_PINS") or PINS))
    store = Store(Cache(default_root()), pins, Sources(("file", "module")))
    return store.ensure(["registry"])["registry"].path


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; 0, or the error's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.world", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, text in {"up": "bring it up", "down": "take it down", "repo": "put a folder on a branch"}.items():
        verb = verbs.add_parser(name, help=text)
        where = verb.add_mutually_exclusive_group(required=True)
        where.add_argument("--spec", type=Path, help="the node's inventory, where it is a local one")
        where.add_argument("--network", type=IPv4Network, help="the network of a cloud's stand-in")
        if name == "repo":
            verb.add_argument("name")
            verb.add_argument("folder", type=Path)
            verb.add_argument("--branch", default="main")
    asked = parser.parse_args(argv)
    try:
        world = world_of(asked.spec) if asked.spec else world_in(asked.network)
        if asked.verb == "up":
            storage = content.registry_storage(lambda line: print(line, file=sys.stderr, flush=True))
            world.up(registry_binary(), storage, content.repositories())
            print(f"http://{world.address}")
        elif asked.verb == "down":
            world.down()
        else:
            content.commit(world.git / f"{asked.name}.git", asked.branch, asked.folder)
            print(f"http://{world.address}/{asked.name}.git")
    except BinderNodeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
