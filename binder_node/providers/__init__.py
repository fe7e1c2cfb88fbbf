"""Where a machine comes from. One module a provider; its SDK is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from binder_node.node import Node
from binder_node.providers.base import Leftover, Provider
from binder_node.providers.offers import Offer, Tariff
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


@dataclass(frozen=True, slots=True)
class Shop:
    """A provider's market, without a node. ``tariff`` takes a location; ``labelled`` is what any node has there."""

    offers: list[Offer]
    tariff: Callable[[str], Tariff]
    labelled: Callable[[], list[Leftover]]


# Kinds of provider that tell prices without a node.
SHOPS = ("hetzner",)


def shop_for(kind: str, endpoint: str = "") -> Shop:
    """The market of a kind of provider, at its own API or at ``endpoint``.

    Raises:
        InputError: there is no token.
        StepError: the API refused, or cannot be reached.
    """
    assert kind in SHOPS
    from binder_node.providers.hetzner.stage import shop

    return shop(endpoint)
