"""A real authoritative server for tests: Knot DNS from the Debian archive, unpacked and not installed."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.query
import dns.tsigkeyring
import dns.update

from tests.testbed.build.debian import libraries, unpacked

OUT = Path(__file__).parents[3] / "build" / "testbed" / "knot"
KEY, SECRET = "binder-node-test", base64.b64encode(b"a secret of tests, known to all.").decode()
START_SECONDS = 15.0


def knotd() -> tuple[Path, Mapping[str, str]]:
    """The server's binary and the environment that it runs in. apt checks what it fetches."""
    installed = shutil.which("knotd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")
    if installed:
        return Path(installed), os.environ
    unpacked("knot", OUT)
    return OUT / "usr/sbin/knotd", {**os.environ, "LD_LIBRARY_PATH": libraries(OUT)}


CONFIG = """\
server:
    listen: {listen}
    rundir: {folder}
log:
  - target: stderr
    any: info
database:
    storage: {folder}
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: update
    key: {key}
    action: [update, query]
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
    acl: update
    zonefile-load: whole
    journal-content: none
zone:
"""
ZONE = """\
{zone}. 60 SOA ns.{zone}. ops.{zone}. 1 3600 600 86400 60
{zone}. 60 NS ns.{zone}.
ns.{zone}. 60 A {address}
"""


@dataclass
class Knot:
    """One server at ``address``:``port`` with ``zones`` (name to further lines); its log is in ``folder``."""

    folder: Path
    address: str
    port: int
    zones: Mapping[str, Sequence[str]]
    within: Sequence[str] = ()  # what the server is started by: nsenter into a namespace
    process: subprocess.Popen[bytes] | None = None
    published: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As the Spec has it."""
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(listen=f"{self.address}@{self.port}", folder=self.folder, key=KEY, secret=SECRET)
        for zone, lines in self.zones.items():
            whole = ZONE.format(zone=zone, address=self.address) + "".join(f"{line}\n" for line in lines)
            (self.folder / f"{zone}.zone").write_text(whole)
            text += f"  - domain: {zone}\n"
        (self.folder / "knot.conf").write_text(text)
        binary, environment = knotd()
        with (self.folder / "knot.log").open("ab") as log:
            command = [*self.within, str(binary), "-c", str(self.folder / "knot.conf")]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while "server started" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "knot.log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def free_port() -> int:
    """A port that nobody has at the moment, for UDP and TCP; not one that the kernel gives to others next."""
    while True:
        port = random.randrange(20000, 30000)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        ):
            datagrams.bind(("127.0.0.1", port))
            stream.bind(("127.0.0.1", port))
            return port


def publish(server: Knot, zone: str, records: Iterable[tuple[str, str, str]]) -> None:
    """Have ``server`` hold exactly these (kind, name, content) of addresses and aliases, as a provider's name servers
    hold what its API was told."""
    wanted = sorted(set(records))
    message = dns.update.UpdateMessage(
        zone, keyring=dns.tsigkeyring.from_text({KEY: SECRET}), keyalgorithm="hmac-sha256"
    )
    for kind, name, _ in server.published:
        message.delete(f"{name}.", kind)
    for kind, name, content in wanted:
        message.add(f"{name}.", 60, kind, f"{content}." if kind == "CNAME" else content)
    reply = dns.query.tcp(message, server.address, port=server.port, timeout=5)
    assert reply.rcode() == 0, reply
    server.published = wanted
