"""One S3 endpoint, reached with deadlines, and what its refusals mean to an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from binder_node.errors import DeadlineError, StepError
from binder_node.secrets.masked import Masked

if TYPE_CHECKING:
    from minio import Minio, MinioAdmin
    from urllib3 import PoolManager

# Seconds. The SDK's own defaults wait for minutes; an object store that does not answer in these is an outage.
CONNECT_TIMEOUT, READ_TIMEOUT, RETRIES = 5.0, 30.0, 3

# What S3's error codes tell an operator (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
REMEDIES: dict[str, str] = {
    "SlowDown": "the object store is throttling: wait and run the same command again; repeated, tell the provider",
    "ServiceUnavailable": "the object store is down or throttling: see its status page, then run again",
    "AccessDenied": "the key may not do this: give it read, write and lifecycle rights on this bucket",
    "InvalidAccessKeyId": "the endpoint does not know this key: check that it belongs to this endpoint and project",
    "SignatureDoesNotMatch": "the secret does not belong to this key: set both again",
    "NoSuchBucket": "the bucket does not exist: run `binder-node up`, or check storage.bucket and storage.endpoint",
    "BucketAlreadyExists": "somebody else has a bucket of this name: choose another storage.bucket",
    "XMinioStorageFull": "the disk below MinIO is full: free space on the node's state folder",
    "RequestTimeTooSkewed": "this machine's clock and the endpoint's differ: set the clock",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a bucket is and who asks. ``url`` is ``http(s)://host[:port]``."""

    node: str
    url: str
    region: str
    bucket: str
    access_key: str
    secret_key: Masked

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"


def pool() -> PoolManager:
    """Connections with deadlines and few retries. A 503 is told at once: a MinIO that begins asks for a minute with its
    `Retry-After`, and serves within a second (`writeErrorResponse` of its cmd/api-response.go)."""
    import urllib3

    again = urllib3.Retry(
        total=RETRIES, backoff_factor=0.3, status_forcelist=(500, 502, 504), respect_retry_after_header=False
    )
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
        retries=again,
    )


def client(endpoint: Endpoint) -> Minio:
    """An S3 client for ``endpoint``; opens no connection yet."""
    from minio import Minio

    return Minio(
        endpoint=endpoint.netloc,
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key.reveal(),
        secure=endpoint.secure,
        region=endpoint.region,
        http_client=pool(),
    )


def admin(endpoint: Endpoint) -> MinioAdmin:
    """MinIO's admin client, for an ``endpoint`` that carries the root user's key. No other server answers it."""
    from minio import MinioAdmin
    from minio.credentials.providers import StaticProvider

    return MinioAdmin(
        endpoint=endpoint.netloc,
        credentials=StaticProvider(endpoint.access_key, endpoint.secret_key.reveal()),
        secure=endpoint.secure,
        region=endpoint.region,
        http_client=pool(),
    )


@contextmanager
def explained(endpoint: Endpoint, step: str) -> Iterator[None]:
    """Turn the SDK's exceptions inside the block into a :class:`StepError` that names the code and the remedy.

    Raises:
        StepError: the endpoint refused, with S3's code as the reason.
        DeadlineError: the endpoint did not answer in time.
    """
    import minio.error
    import urllib3.exceptions

    place = f"{step} (bucket {endpoint.bucket} at {endpoint.url})"
    try:
        yield
    except minio.error.S3Error as error:
        code = str(error.code)
        raise StepError(endpoint.node, place, f"{code}: {error.message}", REMEDIES.get(code, "")) from error
    except minio.error.MinioAdminException as error:
        raise StepError(endpoint.node, place, str(error), "see `binder-node logs minio`") from error
    except (minio.error.InvalidResponseError, minio.error.ServerError) as error:
        raise StepError(endpoint.node, place, str(error), "is storage.endpoint an S3 endpoint?") from error
    except urllib3.exceptions.HTTPError as error:
        reason = str(getattr(error, "reason", None) or error)
        raise DeadlineError(
            endpoint.node,
            f"an answer: {place}",
            CONNECT_TIMEOUT * (RETRIES + 1),
            reason,
            "check that the endpoint is up and reachable from here",
        ) from error
