"""Where a machine comes from. One module a provider; its SDK is imported when it is asked for."""

from __future__ import annotations

from binder_node.node import Node
from binder_node.providers.base import Provider
from binder_node.spec.model import HetznerProvider, LocalProvider


def provider_for(node: Node) -> Provider:
    """The provider that the node's Spec names."""
    if isinstance(node.spec.provider, LocalProvider):
        from binder_node.providers.local.stage import LocalMachine

        return LocalMachine(node)
    if isinstance(node.spec.provider, HetznerProvider):
        from binder_node.providers.hetzner.stage import HetznerMachine

        return HetznerMachine(node)
    from binder_node.providers.ssh import SshMachine

    return SshMachine(node)
