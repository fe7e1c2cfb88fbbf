"""``events``: a node's log of launches, from the node itself or from the bucket's archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from binder_node import remote
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter, step
from binder_node.federation.archive import PROVIDERS, file_name
from binder_node.host.events import CONFIG, SECONDS, UNIT
from binder_node.host.programs import run
from binder_node.host.upload import as_root
from binder_node.launches.numbers import Log, from_archive, from_node
from binder_node.layout import EVENTS, LIB
from binder_node.lifecycle.opened import Opened, access_of, open_bare
from binder_node.node import Access
from binder_node.storage.endpoint import Endpoint, client, explained
from binder_node.storage.stage import StorageStage

STAGE = "events"
TELL_SECONDS = 120.0
# systemctl's exit code for a unit that is not there (LSB: not installed).
NO_UNIT = 5


@dataclass(frozen=True, slots=True)
class Told:
    """``archived`` is when the node's archive was last whole, empty if never; ``error`` why the last run failed;
    ``waiting`` are days of which the bucket lacks something."""

    log: Log
    archived: str = ""
    error: str = ""
    waiting: tuple[str, ...] = ()


def of_node(opened: Opened, days: int, report: Reporter, *, archive: bool = False) -> Told:
    """The last ``days`` days, today among them, as the node has them; with ``archive`` they go to the bucket first.

    Raises:
        InputError: another chart makes the release, so that there is no log.
        StepError, DeadlineError: the machine is not reached, or the archive is not made; with its own last words.
    """
    _refuse_none(opened)
    access, _ = access_of(opened)
    if archive:
        with step(report, STAGE, "the node archives its launches"):
            archive_now(opened, access)
    script = as_root(access, f"cd {LIB} && exec {run('events', CONFIG, 'tell', str(days))}")
    done = remote.run(access, script, timeout=TELL_SECONDS, check=False)
    if done.code != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
        raise StepError(opened.spec.name, "read the log of launches", last, f"run `binder-node up {opened.spec.name}`")
    told = json.loads(done.stdout)
    return Told(from_node(told, _today(), PROVIDERS), told["archived"], told["error"], tuple(told["waiting"]))


def archive_now(opened: Opened, access: Access) -> None:
    """Have the node put what the bucket lacks there, as its timer does: before its machine goes, too. A node that was
    made before there was such a log has nothing to put there.

    Raises:
        StepError, DeadlineError: it could not; with its own last words. Nothing is lost by that.
    """
    name = opened.spec.name
    done = remote.run(access, as_root(access, f"systemctl start {UNIT}"), timeout=SECONDS + 60, check=False)
    if done.code not in (0, NO_UNIT):
        log = remote.run(access, as_root(access, f"journalctl --no-pager -o cat -n 4 -u {UNIT}"), check=False)
        reason = log.stdout.strip() or done.stderr or f"exit code {done.code}"
        raise StepError(name, "archive its launches", reason, f"nothing is lost; binder-node logs {name} events")


def of_bucket(opened: Opened, days: int) -> Told:
    """The last ``days`` days as the bucket's archive has them: of all machines that were this node, without failures.

    Raises:
        InputError, StepError, DeadlineError: as above, of the bucket.
    """
    _refuse_none(opened)
    access = None if opened.spec.storage.kind == "s3" else access_of(opened)[0]
    last = _today()
    first = last - timedelta(days=days - 1)
    with StorageStage(open_bare(opened), access).endpoint() as endpoint:
        lines = [line for number in range(days) for line in _day(endpoint, first + timedelta(days=number))]
    return Told(from_archive(lines, first, last, PROVIDERS))


def _day(endpoint: Endpoint, day: date) -> Iterator[str]:
    import minio.error

    with explained(endpoint, f"read the launches of {day}"):
        try:
            answer = client(endpoint).get_object(bucket_name=endpoint.bucket, object_name=f"{EVENTS}{file_name(day)}")
        except minio.error.S3Error as error:
            if error.code == "NoSuchKey":
                return
            raise
        try:
            yield from answer.read().decode("utf-8", "replace").splitlines()
        finally:
            answer.close()
            answer.release_conn()


def _today() -> date:
    return datetime.now(UTC).date()


def _refuse_none(opened: Opened) -> None:
    if opened.spec.central:
        right = "the federation's chart tells its launches to the federation's collector"
        raise InputError(
            Problem(str(opened.inventory), 0, "deploy", "is federation, and keeps no log of its own", right)
        )
