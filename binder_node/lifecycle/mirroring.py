"""The registry's bucket of one node copied into another's, through this computer: for buckets that two nodes do not
share, like MinIO's on the node itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from binder_node.errors import StepError
from binder_node.events import Event, Reporter, step
from binder_node.layout import HUB_CACHE
from binder_node.storage.endpoint import Endpoint, client, explained
from binder_node.storage.stage import StorageStage

if TYPE_CHECKING:
    from binder_node.lifecycle.standing import View

STAGE = "rotate"
AT_ONCE = 4
# Bytes of a part where the store does not take an object at once; S3 wants 5 MiB or more.
PART = 16 * 2**20
# Uploads under way are of the old registry's processes, and nobody's on the new one.
UPLOADS = "/_uploads/"
# Layers and manifests come before what names them: a registry that reads meanwhile finds all that it is told of.
BLOBS = "/blobs/sha256/"


def missing(have: Mapping[str, tuple[int, str]], there: Mapping[str, tuple[int, str]]) -> list[str]:
    """Names of objects that are to be copied, in the order in which a registry may see them. Pure.

    Both are sizes and digests by name. A blob is named by its content: of one that is there the size is enough, since
    an object that came in parts has another digest than one that came whole.
    """

    def same(name: str) -> bool:
        if name not in there:
            return False
        return have[name][0] == there[name][0] if BLOBS in name else have[name] == there[name]

    # What the cache of Docker Hub keeps is to be had there, faster than through this computer.
    wanted = [name for name in have if UPLOADS not in name and not name.startswith(HUB_CACHE) and not same(name)]
    return sorted(wanted, key=lambda name: (BLOBS not in name, name))


def mirror(old: View, new: View, report: Reporter) -> int:
    """Copy what the new bucket lacks; how many objects that were. Killed anywhere, the next call goes on.

    Raises:
        StepError, DeadlineError: one of the buckets refuses, or does not answer.
    """
    sides = StorageStage(old.node, old.access), StorageStage(new.node, new.access)
    with sides[0].endpoint() as source, sides[1].endpoint() as target:
        names = missing(listed(source), listed(target))
        with step(report, STAGE, f"copy {len(names)} objects from {old.name}'s bucket to {new.name}'s"):
            for group in (
                [name for name in names if BLOBS in name],
                [name for name in names if BLOBS not in name],
            ):
                _copy(source, target, group, report)
    return len(names)


def listed(endpoint: Endpoint) -> dict[str, tuple[int, str]]:
    """Size and digest of every object by its name. Raises StepError, DeadlineError."""
    with explained(endpoint, f"list {endpoint.bucket}"):
        found: Iterable[Any] = client(endpoint).list_objects(bucket_name=endpoint.bucket, recursive=True)
        return {str(one.object_name): (int(one.size or 0), str(one.etag)) for one in found}


def _copy(source: Endpoint, target: Endpoint, names: list[str], report: Reporter) -> None:
    import minio.error

    def one(name: str) -> None:
        with explained(source, f"read {name}"):
            try:
                answer = client(source).get_object(bucket_name=source.bucket, object_name=name)
            except minio.error.S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                # Its registry has removed it since (host/retention.py), and what named it before that: names are copied
                # after what they name.
                return
        try:
            size = int(answer.headers["Content-Length"])
            with explained(target, f"write {name}"):
                body = cast("BinaryIO", answer)  # it reads as one
                client(target).put_object(
                    bucket_name=target.bucket, object_name=name, data=body, length=size, part_size=PART
                )
        except KeyError:
            raise StepError(source.node, f"read {name}", "its store does not tell its size") from None
        finally:
            answer.close()
            answer.release_conn()

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for number, _ in enumerate(pool.map(one, names), 1):
            report(Event("progress", STAGE, f"{number} of {len(names)} objects copied"))
