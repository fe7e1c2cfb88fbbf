"""What an inventory says of the image registry."""

from __future__ import annotations

from pydantic import Field

from binder_node.spec.quantity import Quantity
from binder_node.spec.types import HUB_USER, PREFIX, HostName, Model, Url


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
    cache_days: int | None = Field(
        None,
        ge=0,
        le=365,
        description="Days that a cache of Docker Hub in the same bucket keeps what was pulled through it, so that "
        "builds meet no rate limit; 0: no cache. None: 7 where `storage.kind` is `s3`, else 0: the node's own disk has "
        "the build cache already.",
    )
    cache_from: Url | None = Field(
        None,
        description="What the cache asks. None: the first of `mirrors` for docker.io that is a host alone, else Docker "
        "Hub itself.",
    )
    cache_user: str = Field(
        "",
        pattern=HUB_USER,
        description="Login at Docker Hub, whose limit is higher than nobody's: one without private repositories, for "
        "whatever it may pull everybody can build on. Its access token is a secret: `binder-node secrets set NODE "
        "tokens.dockerhub`. Empty: no login.",
    )
    mirrors: dict[HostName, tuple[Url, ...]] = Field(
        default_factory=dict, description="Pull-through mirrors by registry: {docker.io: [https://mirror.example.org]}."
    )
