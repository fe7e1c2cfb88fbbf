"""What an inventory says of money."""

from __future__ import annotations

from pydantic import Field

from binder_node.spec.quantity import Quantity
from binder_node.spec.types import CURRENCY, Model


class Cost(Model):
    """What a month of the node takes and costs, where no API tells: `binder-node cost` reckons with it.

    Prices are a month's, without VAT.
    """

    currency: str = Field("EUR", pattern=CURRENCY, description="Of the prices below; an API's own where it has prices.")
    machine: float | None = Field(None, ge=0, description="The machine. Default: the provider's live price.")
    address: float | None = Field(None, ge=0, description="A public IPv4 address. Default: the provider's live price.")
    volume: float | None = Field(None, ge=0, description="A GB of volume. Default: the provider's live price.")
    objects: float | None = Field(
        None, ge=0, description="A GB of object storage. Default: Hetzner's list price there, else unknown."
    )
    stored: Quantity = Field(Quantity("1T"), description="What the bucket is expected to hold.")
    traffic: Quantity = Field(Quantity("10T"), description="What is expected to leave the machine in a month.")
    traffic_included: Quantity | None = Field(
        None, description="Of that, what the machine's price includes. Default: the provider's live figure."
    )
    traffic_price: float | None = Field(
        None, ge=0, description="A TB beyond what is included. Default: the provider's live price."
    )
