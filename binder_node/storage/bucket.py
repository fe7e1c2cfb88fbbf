"""The bucket as it is, and making it as it should be; each function names what it was doing when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

from binder_node.errors import StepError
from binder_node.storage.endpoint import Endpoint, admin, client, explained, pool
from binder_node.storage.policy import ABORT_AFTER_DAYS, Expiry

T = TypeVar("T")
# What one request may delete (S3's DeleteObjects).
BATCH = 1000

Key = Literal["ok", "missing", "stale", "unscoped"]

# A GET of the bucket's lifecycle is the one request whose refusal tells a wrong key, a wrong secret, a missing right
# and a missing bucket apart (HEAD, which `bucket_exists` sends, has no body to say so).
KEY_STATES: dict[str, Key] = {
    "InvalidAccessKeyId": "missing",
    "SignatureDoesNotMatch": "stale",
    "AccessDenied": "unscoped",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one look at the bucket showed. ``lifecycle``: incomplete uploads are aborted after a day; ``forgets``: what
    the cache of Docker Hub kept goes when it should."""

    key: Key
    exists: bool
    lifecycle: bool
    forgets: bool = True


def look(endpoint: Endpoint, expiry: Expiry | None = None) -> Bucket:
    """See the bucket with its own key, in one request; ``expiry`` is the rule that it should have.

    Raises:
        StepError: the endpoint answered with something that is neither a state of the key nor of the bucket.
        DeadlineError: it did not answer.
    """
    import minio.error

    with explained(endpoint, "look at the bucket"):
        try:
            present = rules(endpoint)
        except minio.error.S3Error as error:
            if error.code in KEY_STATES:
                return Bucket(KEY_STATES[str(error.code)], False, False)
            if error.code == "NoSuchBucket":
                return Bucket("ok", False, False, expiry is None)
            raise
        aborts = any(
            rule.status == "Enabled"
            and rule.abort_incomplete_multipart_upload
            and (rule.abort_incomplete_multipart_upload.days_after_initiation or 0) <= ABORT_AFTER_DAYS
            for rule in present
        )
        forgets = expiry is None or any(expires(rule, expiry.rule, expiry.prefix, expiry.days) for rule in present)
        return Bucket("ok", True, aborts or removes_parts_itself(endpoint), forgets)


def removes_parts_itself(endpoint: Endpoint) -> bool:
    """Whether the server is MinIO: it takes no rule that only aborts uploads (``InvalidArgument``), and needs none.

    It removes stale parts after a day by itself (``MINIO_API_STALE_UPLOADS_EXPIRY``, 24 hours unless set). It is known
    by its health check, which no other server has (https://min.io/docs: ``/minio/health/live``).
    """
    answer = pool().request("GET", f"{endpoint.url}/minio/health/live", redirect=False, retries=False)
    return answer.status == 200 and "minio" in answer.headers.get("Server", "").lower()


def make(endpoint: Endpoint) -> None:
    """Make the bucket; one that is already ours is as good."""
    import minio.error

    with explained(endpoint, "make the bucket"):
        try:
            client(endpoint).make_bucket(bucket_name=endpoint.bucket, location=endpoint.region)
        except minio.error.S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise


def remove(endpoint: Endpoint, tell: Callable[[int], None]) -> None:
    """Remove the bucket with everything in it, old versions too; one that is gone is as good.

    Killed half-way, the next call goes on. ``tell`` is given the number of objects that are gone, every thousand.

    Raises:
        StepError, DeadlineError: S3 refused, or did not answer; S3's code is the reason.
    """
    import minio.error

    step = f"remove bucket {endpoint.bucket}"
    with explained(endpoint, step):
        server = client(endpoint)
        try:
            there = server.list_objects(bucket_name=endpoint.bucket, recursive=True, include_version=True)
            for count in _removed(endpoint, step, server, there):
                tell(count)
            server.remove_bucket(bucket_name=endpoint.bucket)
        except minio.error.S3Error as error:
            if error.code != "NoSuchBucket":
                raise


def names_below(endpoint: Endpoint, prefix: str) -> list[str]:
    """Names of all objects below ``prefix``.

    Raises:
        StepError, DeadlineError: the endpoint refused, or does not answer.
    """
    with explained(endpoint, f"list {endpoint.bucket}"):
        found = client(endpoint).list_objects(bucket_name=endpoint.bucket, prefix=prefix, recursive=True)
        return [str(one.object_name) for one in found]


def remove_below(endpoint: Endpoint, prefixes: Sequence[str]) -> int:
    """Remove every object whose name begins with one of ``prefixes``; how many there were.

    Raises:
        StepError, DeadlineError: the endpoint refused, or does not answer.
    """
    step, count = f"remove objects from {endpoint.bucket}", 0
    with explained(endpoint, step):
        server = client(endpoint)
        for prefix in prefixes:
            there = server.list_objects(bucket_name=endpoint.bucket, prefix=prefix, recursive=True)
            count += max(_removed(endpoint, step, server, there), default=0)
    return count


def _removed(endpoint: Endpoint, step: str, server: Any, there: Iterable[Any]) -> Iterator[int]:
    """Remove the objects ``there`` a thousand at a time, and tell after each how many are gone."""
    from minio.deleteobjects import DeleteObject

    count = 0
    for batch in _batches(there, BATCH):
        objects = [DeleteObject(one.object_name, one.version_id) for one in batch]
        failed = list(server.remove_objects(bucket_name=endpoint.bucket, delete_object_list=objects))
        if failed:
            reason = f"{failed[0].code}: {failed[0].name} ({len(failed)} of {len(objects)})"
            raise StepError(endpoint.node, step, reason, "run this again")
        count += len(objects)
        yield count


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(things)
    while batch := list(islice(left, size)):
        yield batch


def make_key(root: Endpoint, key: Endpoint, name: str, policy: Mapping[str, Any]) -> None:
    """On MinIO: (re)make the key that ``key`` carries, with ``policy``, called ``name``, for its only right.

    Keys of another name that have these rights are from before a rotation. They go first: as long as ours is not
    there, the next call comes here again.
    """
    with explained(root, f"make key {key.access_key}"):
        server = admin(root)
        for old in former_keys(json.loads(server.user_list()), key.access_key, name):
            server.user_remove(access_key=old)
        server.user_add(access_key=key.access_key, secret_key=key.secret_key.reveal())
        server.policy_add(policy_name=name, policy=dict(policy))
        server.policy_set(policy_name=name, user=key.access_key)


def former_keys(users: Mapping[str, Mapping[str, Any]], access_key: str, policy: str) -> list[str]:
    """Of MinIO's users by name, those whose only right is ``policy``, but for the one that has it now. Pure.

    >>> former_keys({"OLD": {"policyName": "ours"}, "NEW": {"policyName": "ours"}, "me": {}}, "NEW", "ours")
    ['OLD']
    """
    having = [name for name, about in users.items() if about.get("policyName") == policy]
    return sorted(name for name in having if name != access_key)


def rules(endpoint: Endpoint) -> list[Any]:
    """The bucket's lifecycle rules, as the SDK has them. Raises the SDK's own errors."""
    config = client(endpoint).get_bucket_lifecycle(bucket_name=endpoint.bucket)
    return list(config.rules) if config else []


def expires(rule: Any, rule_id: str, prefix: str, days: int) -> bool:
    """Whether a rule of the SDK's is the one that :func:`set_expiry` makes. Pure."""
    below = rule.rule_filter.prefix if rule.rule_filter else None
    after = rule.expiration.days if rule.expiration else None
    return bool((rule.rule_id, rule.status, below, after) == (rule_id, "Enabled", prefix, days))


def set_expiry(endpoint: Endpoint, rule_id: str, prefix: str, days: int) -> None:
    """Have the bucket remove what lies below ``prefix`` after ``days``, keeping every rule of another id."""
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    with explained(endpoint, "set the bucket's lifecycle"):
        ours = Rule(
            status=ENABLED, rule_filter=Filter(prefix=prefix), rule_id=rule_id, expiration=Expiration(days=days)
        )
        others = [rule for rule in rules(endpoint) if rule.rule_id != rule_id]
        client(endpoint).set_bucket_lifecycle(bucket_name=endpoint.bucket, config=LifecycleConfig([*others, ours]))


def set_lifecycle(endpoint: Endpoint) -> None:
    """Abort incomplete uploads after a day, keeping every rule that somebody else set."""
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import AbortIncompleteMultipartUpload, LifecycleConfig, Rule

    with explained(endpoint, "set the bucket's lifecycle"):
        server = client(endpoint)
        ours = Rule(
            status=ENABLED,
            rule_filter=Filter(prefix=""),
            rule_id="binder-node-abort-incomplete-uploads",
            abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(days_after_initiation=ABORT_AFTER_DAYS),
        )
        others = [rule for rule in rules(endpoint) if rule.rule_id != ours.rule_id]
        server.set_bucket_lifecycle(bucket_name=endpoint.bucket, config=LifecycleConfig([*others, ours]))
