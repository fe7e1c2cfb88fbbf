"""What the bucket shows, judged. Pure: S3's answers in, a Trouble or None out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from binder_node.layout import BACKUPS, EVENTS, HUB_CACHE, USES
from binder_node.smoke.checks import Trouble
from binder_node.storage.bucket import Bucket
from binder_node.storage.endpoint import REMEDIES
from binder_node.storage.policy import ABORT_AFTER_DAYS
from binder_node.storage.probe import PREFIX

# What is ours at the bucket's top: Distribution's root, the probe's, backups, launches, when images were used last, and
# what the cache of Docker Hub keeps.
OWN = ("docker/", PREFIX, BACKUPS, EVENTS, USES, HUB_CACHE)
# A datacenter's own network takes less than a millisecond, a neighbouring country's 10 to 20 (Hetzner's Falkenstein
# to Helsinki: 24 ms): each blob of a push is several round trips (mybinder.org-deploy #3182). Seconds.
NEAR = 0.015
# S3 refuses a request that is 15 minutes off (RequestTimeTooSkewed). Seconds.
SKEW = 300.0
# A backup that was missed is made up for by the next; so long after that one was due, somebody should know. Seconds.
LATE = 3600.0
REFUSALS = {"missing": "InvalidAccessKeyId", "stale": "SignatureDoesNotMatch", "unscoped": "AccessDenied"}


def key(seen: Bucket, bucket: str) -> Trouble | None:
    """The endpoint takes the registry's key."""
    if seen.key == "ok":
        return None
    code = REFUSALS[seen.key]
    return Trouble(f"bucket {bucket} refuses the registry's key: {code}", REMEDIES[code])


def exists(seen: Bucket, bucket: str) -> Trouble | None:
    return None if seen.exists else Trouble(f"bucket {bucket} is not there", REMEDIES["NoSuchBucket"])


def lifecycle(seen: Bucket, bucket: str) -> Trouble | None:
    """Incomplete uploads go after a day; nobody else ever sees them."""
    if seen.lifecycle:
        return None
    return Trouble(
        f"bucket {bucket} keeps incomplete uploads for ever",
        f"a lifecycle rule of {ABORT_AFTER_DAYS} day: binder-node up",
    )


def forgets(seen: Bucket, bucket: str) -> Trouble | None:
    """What the cache of Docker Hub keeps goes by the bucket's own rule, and by nothing else."""
    if seen.forgets:
        return None
    return Trouble(
        f"bucket {bucket} keeps what the cache of Docker Hub pulled for ever", "a lifecycle rule: binder-node up"
    )


def stale_uploads(environment: Mapping[str, str]) -> Trouble | None:
    """MinIO takes no such rule: it removes parts by itself after what its environment says, in hours."""
    value = environment.get("MINIO_API_STALE_UPLOADS_EXPIRY", "")
    hours = value.removesuffix("h")
    if value.endswith("h") and hours.isdigit() and 0 < int(hours) <= 24 * ABORT_AFTER_DAYS:
        return None
    return Trouble(
        f"MinIO keeps incomplete uploads for {value or 'as long as it likes'}",
        "`binder-node up`; if its file is right, `systemctl restart minio`",
    )


def scope(code: str, other: str) -> Trouble | None:
    """``code`` is S3's answer to the key's look into a bucket that is not its own (``other``)."""
    if code == "AccessDenied":
        return None
    return Trouble(
        f"the registry's key is not kept to its bucket: a look into {other} was answered with {code}",
        "on MinIO it should have the policy binder-node-registry only; `binder-node secrets rotate` makes it anew",
    )


def only_ours(top: Collection[str], bucket: str) -> Trouble | None:
    """Names at the bucket's top: another registry's or another member's do not belong there."""
    foreign = sorted(set(top) - set(OWN))
    if not foreign:
        return None
    return Trouble(
        f"bucket {bucket} holds what is not ours: {', '.join(foreign[:3])}",
        "one bucket and one registry a member: give one of them a bucket of its own",
    )


def near(seconds: float, endpoint: str) -> Trouble | None:
    """Seconds that the node needs to connect."""
    if seconds <= NEAR:
        return None
    return Trouble(
        f"{endpoint} is {seconds * 1000:.0f} ms away from the node",
        "put the bucket where the machine is: every push and pull waits for it",
    )


def clock(off: float, endpoint: str) -> Trouble | None:
    """Seconds between the endpoint's clock and the node's."""
    if abs(off) <= SKEW:
        return None
    return Trouble(
        f"the clocks of {endpoint} and the node are {abs(off):.0f} s apart", REMEDIES["RequestTimeTooSkewed"]
    )


def environment(text: str) -> dict[str, str]:
    """/proc/PID/environ, its NULs as line ends."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@dataclass(frozen=True, slots=True)
class Timer:
    """What systemd says of the backups: the timer's state, active for ``waiting`` seconds; its word for the last run,
    and that run's last line."""

    state: str
    waiting: float
    result: str
    said: str


def backup(age: float | None, hours: int, timer: Timer, node: str) -> Trouble | None:
    """A backup is young enough. ``age`` is the newest one's in seconds, None where there is none."""
    if timer.state != "active":
        return Trouble(f"the timer of backups is {timer.state}: none are made", f"binder-node up {node}")
    if timer.result != "success":
        return Trouble(f"the last backup failed ({timer.result}): {timer.said}", f"binder-node logs {node} backup")
    allowed = 2 * hours * 3600 + LATE
    if (timer.waiting if age is None else age) <= allowed:
        return None
    what = "there is no backup" if age is None else f"the last backup is {age / 3600:.0f} hours old"
    return Trouble(f"{what}, one is due every {hours}", f"binder-node logs {node} backup; binder-node backup {node}")


def events(timer: str, result: str, said: str, node: str) -> Trouble | None:
    """Launches get into the archive: the ``timer``'s state, and systemd's word for its last run with what that said."""
    if timer != "active":
        return Trouble(
            f"the timer of the archive of launches is {timer}: it lacks what comes", f"binder-node up {node}"
        )
    if result != "success":
        remedy = f"they are kept on the node: binder-node logs {node} events; binder-node events {node} --archive"
        return Trouble(f"launches could not be archived ({result}): {said}", remedy)
    return None
