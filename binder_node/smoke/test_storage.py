"""Layer ``storage``: the registry's bucket. Nothing is written but by the deep checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from binder_node.host import backup, events
from binder_node.host.bucket import reached
from binder_node.host.minio import UNIT
from binder_node.lifecycle.opened import Opened
from binder_node.node import Access, Node
from binder_node.smoke import judge_storage as judge
from binder_node.smoke.checks import RESERVED, Trouble, check, expect
from binder_node.smoke.judge_versions import version
from binder_node.spec.model import NodeStorage, Spec
from binder_node.storage import backups, bucket
from binder_node.storage.backups import BackupStage
from binder_node.storage.bucket import Bucket
from binder_node.storage.endpoint import Endpoint, client, explained
from binder_node.storage.policy import cache_expiry
from binder_node.storage.probe import PART, probe
from binder_node.storage.stage import StorageStage
from binder_node.upgrades.reported import Reported

ANSWERS, KEY, BUCKET = "storage.answers", "storage.key", "storage.bucket"


@pytest.fixture(scope="session")
def endpoint(node: Node, access: Access) -> Iterator[Endpoint]:
    """The bucket with the registry's own key; through a tunnel where it is the node's."""
    with StorageStage(node, access).endpoint() as found:
        yield found


@pytest.fixture(scope="session")
def seen(endpoint: Endpoint, spec: Spec) -> Bucket:
    """One look at the bucket."""
    return bucket.look(endpoint, cache_expiry(spec))


def where(spec: Spec) -> str:
    """The endpoint as the node knows it."""
    return reached(spec.storage)[0]


@check("storage.unit", "MinIO runs", needs="machine.ssh")
def test_unit(host: Any, spec: Spec) -> None:
    if not isinstance(spec.storage, NodeStorage):
        pytest.skip("the bucket is elsewhere (storage.kind: s3)")
    state = host.run(f"systemctl is-active {UNIT}").stdout.strip()
    if state != "active":
        last = host.run(f"journalctl --no-pager -o cat -n 3 -u {UNIT}").stdout.strip()
        expect(Trouble(f"{UNIT} is {state}: {last}", f"binder-node logs {spec.name} minio; `binder-node up` starts it"))


@check("storage.version", "it is the MinIO that is pinned", needs="storage.unit")
def test_version(running: Reported, opened: Opened, spec: Spec) -> None:
    if not isinstance(spec.storage, NodeStorage):
        pytest.skip("the bucket is elsewhere (storage.kind: s3)")
    expect(version(running, "minio", opened.pins.entries, spec.name))


# The node's own look, by nothing but Python: seconds to connect, status of an unsigned request, Date of the answer.
LOOK = """
import http.client, json, ssl, socket, sys, time
from email.utils import parsedate_to_datetime
scheme, host, port = sys.argv[1:]
best = 9.0
address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][4][:2]  # a slow resolver is no distance
for attempt in range(3):
    began = time.monotonic()
    socket.create_connection(address, 5).close()
    best = min(best, time.monotonic() - began)
kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
asked = kind(host, int(port), timeout=10)
asked.request("GET", "/")
answer = asked.getresponse()
off = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time() if answer.headers["Date"] else 0.0
print(json.dumps({"seconds": best, "status": answer.status, "off": off}))
"""


@pytest.fixture(scope="session")
def from_the_node(host: Any, spec: Spec) -> dict[str, float]:
    """What the node itself sees of the endpoint: ``seconds`` to connect, ``status``, ``off`` of its clock; empty where
    it does not answer."""
    parts = urlsplit(where(spec))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    done = host.run("python3 -c %s %s %s %s", LOOK, parts.scheme, str(parts.hostname), str(port))
    found: dict[str, Any] = json.loads(done.stdout) if done.succeeded else {"error": done.stderr.strip()}
    return found


@check(ANSWERS, "the endpoint answers, from the node", needs="storage.unit", guide=20)
def test_answers(from_the_node: dict[str, Any], spec: Spec) -> None:
    if "error" in from_the_node or from_the_node["status"] >= 500:
        last = str(from_the_node.get("error", f"HTTP {from_the_node.get('status')}")).splitlines()
        remedy = "see the provider's status page, storage.endpoint, and the log of minio where it is the node's own"
        expect(Trouble(f"{where(spec)}: {last[-1] if last else 'no answer'}", remedy))


@check("storage.near", "it is where the machine is", needs=ANSWERS, guide=18)
def test_near(from_the_node: dict[str, Any], spec: Spec) -> None:
    expect(judge.near(from_the_node["seconds"], where(spec)))


@check("storage.clock", "its clock and the node's agree", needs=ANSWERS)
def test_clock(from_the_node: dict[str, Any], spec: Spec) -> None:
    expect(judge.clock(from_the_node["off"], where(spec)))


@check(KEY, "it takes the registry's key", needs=ANSWERS)
def test_key(seen: Bucket, endpoint: Endpoint) -> None:
    expect(judge.key(seen, endpoint.bucket))


@check(BUCKET, "the bucket is there", needs=KEY)
def test_bucket(seen: Bucket, endpoint: Endpoint) -> None:
    expect(judge.exists(seen, endpoint.bucket))


@check("storage.lifecycle", "incomplete uploads go after a day", needs=BUCKET)
def test_lifecycle(seen: Bucket, host: Any, endpoint: Endpoint, spec: Spec) -> None:
    if isinstance(spec.storage, NodeStorage):
        environ = host.check_output(f"tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value {UNIT})/environ")
        expect(judge.stale_uploads(judge.environment(environ)))
    else:
        expect(judge.lifecycle(seen, endpoint.bucket))
    expect(judge.forgets(seen, endpoint.bucket))


@check("storage.scope", "the registry's key opens nothing else", needs=KEY)
def test_scope(endpoint: Endpoint, spec: Spec) -> None:
    if not isinstance(spec.storage, NodeStorage):
        pytest.skip("what a provider's key opens is not ours to say")
    import minio.error

    other = f"{RESERVED}-other"
    with explained(endpoint, f"look into bucket {other}"):
        try:
            next(iter(client(endpoint).list_objects(bucket_name=other)), None)
            code = "its list"
        except minio.error.S3Error as error:
            code = str(error.code)
    expect(judge.scope(code, other))


@check("storage.only-ours", "nobody else's registry is in the bucket", needs=BUCKET, guide=19)
def test_only_ours(endpoint: Endpoint) -> None:
    with explained(endpoint, "list the bucket's top"):
        top = [str(item.object_name) for item in client(endpoint).list_objects(bucket_name=endpoint.bucket)]
    expect(judge.only_ours(top, endpoint.bucket))


@check("storage.backup", "a backup is as young as it should be", needs=BUCKET, guide=13)
def test_backup(host: Any, node: Node, access: Access) -> None:
    spec = node.spec
    if not spec.backup.hours:
        pytest.skip("none are made (backup.hours: 0)")
    with BackupStage(node, access).endpoint() as place:
        found = backups.listed(place, spec)
    show = "systemctl show -P"
    asked = f"{show} ActiveState {backup.TIMER}; {show} ActiveEnterTimestampMonotonic {backup.TIMER}; "
    lines = host.check_output(f"{asked}{show} Result {backup.UNIT}; cut -d' ' -f1 /proc/uptime").splitlines()
    state, since, result, uptime = (line.strip() for line in lines)
    said = host.run(f"journalctl --no-pager -o cat -n 1 _SYSTEMD_UNIT={backup.UNIT}").stdout.strip()
    age = (datetime.now(UTC) - found[-1].taken).total_seconds() if found else None
    timer = judge.Timer(state, float(uptime) - float(since) / 1e6, result, said)
    expect(judge.backup(age, spec.backup.hours, timer, spec.name))


@check("storage.events", "launches get into their archive", needs=BUCKET, guide=13)
def test_events(host: Any, spec: Spec) -> None:
    if spec.central:
        pytest.skip("the federation's own chart tells its launches")
    show = "systemctl show -P"
    state, result = host.check_output(f"{show} ActiveState {events.TIMER}; {show} Result {events.UNIT}").split()
    said = host.run(f"journalctl --no-pager -o cat -n 1 _SYSTEMD_UNIT={events.UNIT}").stdout.strip()
    expect(judge.events(state, result, said, spec.name))


# --- deep ----------------------------------------------------------------------------------------------------------


@check("storage.write", "what is written can be read and deleted", needs=BUCKET, guide=20, deep=True)
def test_write(endpoint: Endpoint) -> None:
    probe(endpoint)


@check("storage.parts", "so can what is large enough to go in parts", needs="storage.write", guide=11, deep=True)
def test_parts(endpoint: Endpoint) -> None:
    probe(endpoint, PART + 1)
