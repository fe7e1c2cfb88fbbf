"""Rules of a node in a cloud; they stand in :data:`binder_node.spec.rules.RULES` as soon as this is imported."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from binder_node.spec.model import HetznerProvider, OpenStackProvider, S3Storage, Spec
from binder_node.spec.quantity import shortest
from binder_node.spec.rules import Found, rule
from binder_node.spec.sizing import GB

# Network zones of Hetzner's locations (https://docs.hetzner.com/cloud/general/locations/); of others the API tells.
ZONES = {
    "fsn1": "eu-central", "nbg1": "eu-central", "hel1": "eu-central", "ash": "us-east", "hil": "us-west",
    "sin": "ap-southeast",
}  # fmt: skip
OBJECT_STORAGE = ".your-objectstorage.com"
# What the API takes (OpenAPI, create_volume_request): whole GB.
VOLUME_LEAST, VOLUME_MOST = 10 * GB, 10_000 * GB


def bucket_location(spec: Spec) -> str:
    """The Hetzner location whose object storage the bucket lies in; empty for any other storage."""
    if not isinstance(spec.storage, S3Storage):
        return ""
    host = urlsplit(spec.storage.endpoint).hostname or ""
    return host.removesuffix(OBJECT_STORAGE).rpartition(".")[2] if host.endswith(OBJECT_STORAGE) else ""


@rule("provider", "storage")
def bucket_is_near_the_server(spec: Spec) -> Iterator[Found]:
    provider, bucket = spec.provider, bucket_location(spec)
    if not isinstance(provider, HetznerProvider) or bucket not in ZONES:
        return
    for index, location in enumerate(provider.locations):
        zone = ZONES.get(location, ZONES[bucket])
        if zone != ZONES[bucket]:
            wrong = f"{location} is in {zone}, the bucket's {bucket} in {ZONES[bucket]}"
            near = " or ".join(name for name, other in ZONES.items() if other == ZONES[bucket])
            against = (("storage", "endpoint"),)
            yield Found(("provider", "locations", index), wrong, f"write {near}, or take a bucket there", against)


@rule("provider")
def volume_is_one_that_hetzner_makes(spec: Spec) -> Iterator[Found]:
    volume = spec.provider.volume if isinstance(spec.provider, HetznerProvider) else None
    if volume is None or (VOLUME_LEAST <= volume <= VOLUME_MOST and volume % GB == 0):
        return
    right = f"write whole GB from {shortest(VOLUME_LEAST)} to {shortest(VOLUME_MOST)}, like 500G"
    yield Found(("provider", "volume"), f"{volume} is no size of a volume", right)


@rule("provider", "ssh")
def cloud_image_listens_at_22(spec: Spec) -> Iterator[Found]:
    if isinstance(spec.provider, HetznerProvider | OpenStackProvider) and spec.ssh.port != 22:
        wrong = f"a fresh server's sshd listens at 22, not at {spec.ssh.port}"
        yield Found(("ssh", "port"), wrong, "write 22, or remove the line")


@rule("provider", "machine")
def state_lies_on_one_disk(spec: Spec) -> Iterator[Found]:
    """The volume is mounted at `machine.state`, and so would the data disk be."""
    volume = getattr(spec.provider, "volume", None)
    if volume is not None and spec.machine.data_disk is not None:
        wrong = f"provider.volume ({shortest(volume)}) is mounted there already"
        yield Found(("machine", "data_disk"), wrong, "remove one of the two", (("provider", "volume"),))
