"""What an inventory says of the image registry."""

from __future__ import annotations

from pydantic import Field

from binder_node.spec.quantity import Quantity
from binder_node.spec.types import PREFIX, HostName, Model, Url


class Registry(Model):
    """The image registry on the node, and where base images come from."""

    prefix: str = Field("binder", pattern=PREFIX, description="Repository prefix of built images.")
    keep: int = Field(
        30,
        ge=0,
        le=3650,
        description="Days after its last launch that the registry removes an image, as the federation's Harbors do; "
        "0: none goes for its age.",
    )
    size: Quantity | None = Field(
        None,
        description="What the registry may hold: beyond it, the images launched longest ago go, but none of the last "
        "day. None: 15 % of the disk where `storage.kind` is `node`, else any size.",
    )
    mirrors: dict[HostName, tuple[Url, ...]] = Field(
        default_factory=dict, description="Pull-through mirrors by registry: {docker.io: [https://mirror.example.org]}."
    )
