"""Names that the node itself must resolve whatever DNS says."""

from __future__ import annotations

from binder_node.host.wanted import Block, Component
from binder_node.spec.model import Spec


def hosts(spec: Spec, address: str) -> Component:
    """The registry's name is loopback's here: buildkitd pushes there, and the name outlives the machine. A central
    deploy's registry is a pod behind the ingress, as for everybody else."""
    registry = () if spec.central else (f"127.0.0.1 {spec.names.registry}",)
    return Component("hosts", blocks=(Block("/etc/hosts", (f"{address} {spec.name}", *registry)),))
