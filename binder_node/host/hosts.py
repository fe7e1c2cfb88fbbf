"""Names that the node itself must resolve whatever DNS says."""

from __future__ import annotations

from binder_node.host.wanted import Block, Component
from binder_node.spec.model import Spec


def hosts(spec: Spec, address: str) -> Component:
    """The registry's name is loopback's here: buildkitd pushes there, and the name outlives the machine."""
    lines = (f"{address} {spec.name}", f"127.0.0.1 {spec.names.registry}")
    return Component("hosts", blocks=(Block("/etc/hosts", lines),))
