"""Prove that a bucket takes, gives and forgets. Small writes pass where pushes fail: a big one is on demand."""

from __future__ import annotations

import io
import secrets
import time
from dataclasses import dataclass
from typing import Any

from binder_node.errors import StepError
from binder_node.storage.endpoint import Endpoint, client, explained

# Everything a probe writes lies below this; no registry uses a name that begins with a dot.
PREFIX = ".binder-node-probe/"
# Distribution uploads layers in parts of this size by default (its S3 driver's chunksize is 10 MiB; parts of 64 MiB
# are what its multipart copy uses). A multi-gigabyte layer is many of them.
PART = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Probe:
    """Bytes that went there and back, and the seconds that writing, reading and deleting took."""

    size: int
    write: float
    read: float
    delete: float


class _Stream(io.RawIOBase):
    """``size`` bytes that are cheap to make and differ from part to part."""

    def __init__(self, size: int, block: bytes) -> None:
        self._left, self._block, self._count = size, block, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        want = min(len(buffer), self._left, len(self._block))
        buffer[:want] = self._block[:want]
        if want >= 8:
            self._count += 1
            buffer[:8] = self._count.to_bytes(8, "big")
        self._left -= want
        return want


def probe(endpoint: Endpoint, size: int = 4096) -> Probe:
    """Write ``size`` bytes (in parts when larger than one), read them back, delete them.

    Raises:
        StepError: the endpoint refused (S3's code is the reason), or gave back another number of bytes.
        DeadlineError: it did not answer.
    """
    name = PREFIX + secrets.token_hex(8)
    with explained(endpoint, f"write, read and delete {size} bytes"):
        server = client(endpoint)
        began = time.monotonic()
        try:
            server.put_object(
                bucket_name=endpoint.bucket,
                object_name=name,
                data=io.BufferedReader(_Stream(size, secrets.token_bytes(2**20)), 2**20),
                length=size,
                part_size=PART,
            )
            written = time.monotonic()
            back = _drain(server, endpoint.bucket, name)
            read = time.monotonic()
        finally:
            server.remove_object(bucket_name=endpoint.bucket, object_name=name)
        deleted = time.monotonic()
    if back != size:
        raise StepError(endpoint.node, "read the probe back", f"wrote {size} bytes, read {back}")
    return Probe(size, written - began, read - written, deleted - read)


def _drain(server: Any, bucket: str, name: str) -> int:
    response = server.get_object(bucket_name=bucket, object_name=name)
    try:
        return sum(len(chunk) for chunk in response.stream(2**20))
    finally:
        response.close()
        response.release_conn()
