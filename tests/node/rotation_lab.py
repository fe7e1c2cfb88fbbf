"""A lab for rotations: two generations of a node on one bridge, a real name server and a bucket beside them, and users
who come by the public name and never stop coming."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import quote

import dns.message
import dns.query

from binder_node.load.arrivals import Arrival
from binder_node.load.run import Limits, Played, run
from binder_node.load.user import Target
from binder_node.load.visit import Visit
from tests.integration.binaries import binary
from tests.node.harness import Home, Ran, world
from tests.testbed.acme import Pebble
from tests.testbed.knot import KEY, SECRET, Knot
from tests.testbed.lookup import Lookup
from tests.testbed.world.host import RUN

NETWORK = "198.18.112"
WORLD, WORLD_NAME = f"{NETWORK}.10", f"{NETWORK.replace('.', '-')}-0"
ZONE = "rot.test"
TTL = 2
# The culler's: a session of this lab lasts at most so long (seconds).
MAX_AGE = 100
MINIO_PORT = 9000
KEYS = ("labaccesskey", "lab-secret-key")
BRIDGE_SECONDS = 30.0
# Of this computer's, for each machine: what one of two nodes computes is not the other's to wait for. No fewer than a
# session's own limit, which the kernel would not take below (cgroup v1).
CORES = 1.0
# Where the numbers of a soak go: one JSON object a line.
RECORD = Path(os.environ.get("BINDER_NODE_SOAK_RECORD", "/tmp/binder-node-rotations.jsonl"))

INVENTORY = """\
name: {name}
provider:
  kind: local
  network: {network}.0/24
  address: {address}
machine: {{cpus: 2, memory: 12G, disk: 30G}}
names: {{binder: {zone}}}
dns: {{kind: rfc2136, zone: {zone}, server: '{world}', key: {key}, nameservers: ['{world}'], ttl: {ttl}, wait: 20}}
tls: {tls}
storage: {{kind: s3, endpoint: 'http://{world}:9000', bucket: rotation}}
registry:
  mirrors:
    docker.io: [http://{world}:5080]
    quay.io: [http://{world}:5080]
kubernetes: {{max_pods: 110}}
binderhub:
  # Servers that have stopped count until the hub has seen it.
  quota: 60
  session: {{memory_guarantee: 100M}}
  values: [lab.yaml]
"""
VALUES = f"jupyterhub: {{cull: {{every: 5, timeout: 600, maxAge: {MAX_AGE}}}}}\n"
DOCKERFILE = "FROM docker.io/binder-node/base:1\nRUN echo {word} > /tmp/{word}\n"
WORDS = ("often", "sometimes", "rarely")


@dataclass
class Lab:
    """``folder`` holds inventories and secrets of all generations; ``number`` is the present one's."""

    folder: Path
    number: int = 1
    paths: tuple[str, ...] = ()
    pebble: Pebble | None = None  # where certificates come from; None: plain http

    def home(self, number: int | None = None) -> Home:
        return Home(self.folder, f"rot-{number or self.number}", NETWORK)

    def address(self, number: int | None = None) -> str:
        """Two addresses, one after the other: a generation's is free when the one after the next comes."""
        return f"{NETWORK}.{20 + (number or self.number) % 2}"

    @property
    def url(self) -> str:
        """The member's public one."""
        return f"{'https' if self.pebble else 'http'}://{ZONE}"

    @property
    def trust(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.pebble.authority)) if self.pebble else None

    @property
    def tls(self) -> str:
        if self.pebble is None:
            return "{mode: none}"
        where = f"directory: '{self.pebble.directory}', authority: '{self.pebble.authority}'"
        return f"{{mode: acme, email: ops@example.org, {where}}}"

    @property
    def knot(self) -> Knot:
        return Knot(self.folder / "knot", WORLD, 53, {ZONE: []}, within())

    def lookup(self) -> Lookup:
        return Lookup(WORLD, ZONE)

    def ask(self, name: str) -> list[str]:
        """What the name server says."""
        reply = dns.query.udp(dns.message.make_query(name, "A"), WORLD, timeout=5)
        return sorted(str(item) for rrset in reply.answer for item in rrset)

    def rotate(self, *args: str) -> list[str]:
        """The arguments of a rotation of the present generation to the next one."""
        home = self.home()
        given = ["--set", f"provider.address={self.address(self.number + 1)}"]
        checks = ["--repository", f"{home.git}/minimal.git", "--push-to", str(RUN / WORLD_NAME / "git/minimal.git")]
        return ["rotate", *given, "--yes", home.name, "--every", "1", *checks, *args]

    def run(self, *args: str, timeout: float = 600) -> Ran:
        return self.home().run(*args, timeout=timeout)

    def killed(self, seconds: float, *args: str) -> bool:
        """A run that is killed after ``seconds``; whether it was still there to be killed."""
        process = self.home().start(*args)
        try:
            process.communicate(timeout=seconds)
            return False
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
            return True

    def killed_at(self, step: str, later: float, *args: str) -> None:
        """A run that is killed ``later`` seconds after it began ``step``."""
        process = self.home().start(*args, "-o", "json")
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen = line
            if json.loads(line)["data"].get("step") == step:
                break
        time.sleep(later)
        os.kill(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL, f"no {step}: {seen}{err[-2000:]}"

    def another_computer(self) -> None:
        """The next run knows nothing but the checkout: keys, known hosts and sockets are made anew."""
        state = self.folder / "state"
        if state.exists():
            state.rename(self.folder / f"state-{random.randrange(10**9)}")


class OwnCores(threading.Thread):
    """Holds each machine of a lab to :data:`CORES`, from its beginning."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.machines, self.over = folder / "machines", threading.Event()

    def run(self) -> None:
        from binder_node.providers.local.cgroups import groups
        from binder_node.providers.local.plan import Folders

        quota = str(int(CORES * 100_000))
        while not self.over.wait(0.2):
            for group in (one for made in self.machines.glob("rot-*") for one in groups(Folders(made).group)):
                for file, text in (("cpu.cfs_quota_us", quota), ("cpu.max", f"{quota} 100000")):
                    # It may be gone by now.
                    with contextlib.suppress(OSError):
                        if (group / file).exists() and (group / file).read_text().split()[0] != quota:
                            (group / file).write_text(text)


def within() -> tuple[str, ...]:
    """What a server of the world is started by."""
    return ("nsenter", f"--net=/run/netns/world-{WORLD_NAME}")


@contextlib.contextmanager
def lab(folder: Path, *, acme: bool = False) -> Iterator[Lab]:
    """A first generation that is up, with images of :data:`WORDS` in the bucket."""
    from binder_node.providers.local.machine import drop_bridge, ensure_bridge
    from binder_node.spec.load import load

    made = Lab(folder, pebble=Pebble(folder / "pebble", WORLD, f"{WORLD}:53", within()) if acme else None)
    if made.pebble is not None:
        made.pebble.prepare()
    home = made.home()
    home.inventory.parent.mkdir(parents=True)
    (home.inventory.parent / "lab.yaml").write_text(VALUES)
    text = INVENTORY.format(
        name=home.name, network=NETWORK, address=made.address(), zone=ZONE, world=WORLD, key=KEY, ttl=TTL, tls=made.tls
    )
    home.inventory.write_text(text)
    spec = load(home.inventory)
    network = str(IPv4Network(f"{NETWORK}.0/24"))
    knot, minio, cores = made.knot, None, OwnCores(folder)
    cores.start()
    os.environ.update(RFC2136_TSIG_SECRET=SECRET, BINDER_NODE_S3_ACCESS_KEY=KEYS[0], BINDER_NODE_S3_SECRET_KEY=KEYS[1])
    try:
        ensure_bridge(spec)
        world("up", "--network", network, environment=home.environment)
        knot.start()
        if made.pebble is not None:
            made.pebble.start(binary("pebble"))
        minio = start_minio(folder / "minio")
        made.run("up", "-o", "json").ok()
        made.paths = tuple(new_repository(made, word) for word in WORDS)
        for word in WORDS:
            made.run("launch", f"{home.git}/{word}.git").ok()
        yield made
    finally:
        for left in sorted(home.inventory.parent.glob("rot-*.yaml")):
            Home(folder, left.stem, NETWORK).run("destroy", "--yes", left.stem)
        cores.over.set()
        for variable in ("RFC2136_TSIG_SECRET", "BINDER_NODE_S3_ACCESS_KEY", "BINDER_NODE_S3_SECRET_KEY"):
            os.environ.pop(variable, None)
        if minio is not None:
            minio.terminate()
            minio.wait(20)
        if made.pebble is not None:
            made.pebble.stop()
        knot.stop()
        world("down", "--network", network, environment=home.environment)
        drop_bridge(spec)


def start_minio(folder: Path) -> subprocess.Popen[bytes]:
    """The bucket's home, beside the nodes."""
    folder.mkdir(parents=True)
    environment = {**os.environ, "MINIO_ROOT_USER": KEYS[0], "MINIO_ROOT_PASSWORD": KEYS[1]}
    command = [
        *within(),
        str(binary("minio")),
        "server",
        "--quiet",
        "--address",
        f":{MINIO_PORT}",
        str(folder / "data"),
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + BRIDGE_SECONDS
    while True:
        with socket.socket() as knock:
            knock.settimeout(1)
            if knock.connect_ex((WORLD, MINIO_PORT)) == 0:
                return process
        assert time.monotonic() < deadline, (folder / "log").read_text()
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)


def new_repository(made: Lab, word: str) -> str:
    """A repository on the world's git server; the path by which users launch it."""
    source = made.folder / "repositories" / word
    source.mkdir(parents=True)
    (source / "Dockerfile").write_text(DOCKERFILE.format(word=word))
    network = f"{NETWORK}.0/24"
    world("repo", word, str(source), "--network", network, environment=made.home().environment)
    return f"git/{quote(f'{made.home().git}/{word}.git', safe='')}/main"


# --- users ---------------------------------------------------------------------------------------------------------


def arrivals(paths: Sequence[str], rate: float, seconds: float, stay: tuple[float, float]) -> list[Arrival]:
    """Users who come at random, ``rate`` a second, and stay for some time between the two of ``stay`` (seconds)."""
    draw, at, found = random.Random(6), 0.0, list[Arrival]()
    while (at := at + draw.expovariate(rate)) < seconds:
        path = draw.choices(paths, weights=[1 / rank for rank in range(1, len(paths) + 1)])[0]
        length = draw.uniform(*stay)
        found.append(Arrival(at, path, length, tuple(range(0, max(1, int(length)), 4))))
    return found


@dataclass
class Users:
    """A load that goes on beside the test until :meth:`end`."""

    played: Played | None = None
    visits: list[Visit] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self, made: Lab, rate: float, seconds: float = 7200, stay: tuple[float, float] = (5, 25)) -> None:
        """Users of the member's public name, as their own resolver finds it."""
        target = Target("member", made.url, trust=made.trust)
        plan = arrivals(made.paths, rate, seconds, stay)

        def heard(moment: object) -> None:
            visit = getattr(moment, "visit", None)
            if visit is not None:
                self.visits.append(visit)

        def play() -> None:
            with made.lookup().installed():
                self.played = run(plan, [target], Limits(seconds=seconds, grace=120), heard=heard, stop=self._stop)

        self._thread = threading.Thread(target=play, daemon=True)
        self._thread.start()

    def end(self) -> list[Visit]:
        """No more come; who is there finishes. All visits."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(300)
        assert self.played is not None
        return list(self.played.visits)


def bad(visits: Sequence[Visit]) -> list[str]:
    """What no user may see: a failed or refused launch, a lost session, a build of what was there."""
    return [
        f"{visit.at:.0f} s {visit.path[-20:]}: {visit.outcome} at {visit.stage}: {visit.cause}: {visit.message[:300]}"
        for visit in visits
        if visit.outcome in ("failed", "lost", "refused") or visit.kind == "built"
    ]


def numbers(visits: Sequence[Visit]) -> dict[str, object]:
    """For the record."""
    ready = sorted(visit.ready for visit in visits if visit.ready is not None)
    outcomes: dict[str, int] = {}
    for visit in visits:
        outcomes[visit.outcome] = outcomes.get(visit.outcome, 0) + 1
    return {
        "visits": len(visits),
        "outcomes": outcomes,
        "built": sum(visit.kind == "built" for visit in visits),
        "ready_p50": ready[len(ready) // 2] if ready else None,
        "ready_p95": ready[int(len(ready) * 0.95)] if ready else None,
        "members": sorted({visit.member for visit in visits}),
    }


def saturation(made: Lab) -> float:
    """Launches a second that the node is good for, as `binder-node saturate` finds them with users like these."""
    home = made.home()
    users = ["--repo", f"{home.git}/{WORDS[0]}.git", "--stay", "15s"]
    found = made.run("saturate", *users, "--start", "0.2/s", "--steps", "4", "--for", "40s", "-o", "json").ok()
    return float(json.loads(found.out)["good"])


def kept(path: Path, told: object) -> None:
    """A line of the record."""
    with path.open("a") as file:
        file.write(json.dumps(told) + "\n")
