"""The loop: ask, write the numbers for node exporter, the targets and the token for Prometheus."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

from ..watch.api import context, credentials  # noqa: TID252 - on the node the package above has another name
from . import ask, facts

# Seconds between two rounds; certificates and the token are looked at seldom.
ROUND, SELDOM = 30.0, 1800.0
# Until it has a token: K3s has just started, and its manifests' objects come within seconds.
SOON = 5.0
FILE, TOKEN, AUTHORITY = "binder-node.prom", "token", "ca.crt"
WRONG = (OSError, urllib.error.URLError, http.client.HTTPException, ValueError, KeyError, TypeError, ask.Failure)


class Measure:
    """What lasts from one round to the next: certificates, and what was said to be wrong."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.out = config, Path(config["out"])
        self.seldom = 0.0
        self.renewed = 0.0
        self.files: list[facts.Sample] = []
        self.public: dict[str, tuple[bytes, float]] = {}
        self.said: dict[str, str] = {}

    def trouble(self, what: str, error: Exception | None) -> None:
        """Told once, not twice a minute."""
        now = "" if error is None else f"{type(error).__name__}: {error}"
        if now and self.said.get(what) != now:
            print(f"{what}: {now}", file=sys.stderr, flush=True)
        self.said[what] = now

    def write(self, name: str, content: str, mode: int = 0o644, group: str | None = None) -> None:
        """Whole, by a rename; nobody reads half of it."""
        path = self.out / f".{name}.part"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        if group:
            shutil.chown(path, group=group)
        path.chmod(mode)
        path.replace(self.out / name)

    def round(self) -> None:
        """Everything once; of what cannot be asked there is that alone."""
        samples: list[facts.Sample] = []
        parts = (self.machine, self.kubernetes, self.names, self.registries, self.certificates)
        for part in parts:
            try:
                own = part()
                self.trouble(part.__name__, None)
                samples += [*own, ("asked", {"part": part.__name__}, 1)]
            except WRONG as error:
                self.trouble(part.__name__, error)
                samples.append(("asked", {"part": part.__name__}, 0))
        self.write(FILE, facts.text(samples))

    def machine(self) -> list[facts.Sample]:
        config = self.config
        timers = [job["timer"] for job in config["jobs"]]
        said = facts.shown(ask.systemd([*config["units"], *timers]))
        disk = os.statvfs(config["state"])
        return [
            *facts.units(config["units"], said),
            *facts.jobs(config["jobs"], ask.records(config["records"]), said, ask.booted()),
            *facts.firewall(ask.counters(config["table"])),
            ("state_size_bytes", {}, disk.f_blocks * disk.f_frsize),
            ("state_available_bytes", {}, disk.f_bavail * disk.f_frsize),
        ]

    def kubernetes(self) -> list[facts.Sample]:
        config = self.config
        with open(config["kubeconfig"], encoding="utf-8") as file:
            said = credentials(file.read())
        secure, server = context(said), said["server"]
        pods = ask.api(server, f"/api/v1/namespaces/{config['namespace']}/pods", secure)["items"]
        node = ask.api(server, f"/api/v1/nodes/{config['node']}", secure)
        for kind, port in config["pods"].items():
            self.write(f"{kind}.json", json.dumps(facts.targets(pods, kind, port)) + "\n")
        self.trust(base64.b64decode(said["certificate-authority-data"]).decode())
        self.renew(server, secure)
        return [*facts.pods(pods, time.time()), *facts.node(node)]

    def trust(self, authority: str) -> None:
        """Who vouches for the kubelet: Prometheus reads it when it reads its configuration, and may have come first."""
        path = self.out / AUTHORITY
        if not path.exists() or path.read_text(encoding="ascii") != authority:
            self.write(AUTHORITY, authority)
            ask.output("systemctl", "--no-block", "try-reload-or-restart", self.config["prometheus"])

    def renew(self, server: str, secure: ssl.SSLContext) -> None:
        """Prometheus' token for the kubelet."""
        now = time.monotonic()
        if now - self.renewed < SELDOM and self.renewed:
            return
        try:
            token = ask.token(server, self.config["account"], secure)
        except WRONG as error:  # its account comes with K3s's manifests, a little after K3s
            self.trouble("token", error)
            return
        self.write(TOKEN, token, 0o640, self.config["group"])
        self.renewed = now
        self.trouble("token", None)

    def names(self) -> list[facts.Sample]:
        config = self.config
        samples: list[facts.Sample] = []
        for name, path in config["names"].items():
            began = time.monotonic()
            try:
                status, body, certificate = ask.web(config["address"], name, path, tls=config["tls"])
            except (OSError, http.client.HTTPException) as error:
                self.trouble(name, error)
                samples.append(("answers", {"name": name}, 0))
                continue
            checks = _checks(body)
            samples += [
                ("answers", {"name": name}, checks is not None or status < 500),
                ("answer_seconds", {"name": name}, round(time.monotonic() - began, 3)),
                *facts.health(checks or {}),
            ]
            self.trouble(name, None)
            if certificate:
                samples.append(self.lasts(name, certificate))
        return samples

    def lasts(self, name: str, certificate: bytes) -> facts.Sample:
        """When a certificate ends; openssl is asked once about each."""
        known = self.public.get(name)
        if known is None or known[0] != certificate:
            known = certificate, ask.ends(ssl.DER_cert_to_PEM_cert(certificate))
            self.public[name] = known
        return "certificate_ends_timestamp_seconds", {"kind": "public", "name": name}, known[1]

    def registries(self) -> list[facts.Sample]:
        return [
            ("registry_answers", {"role": role}, ask.answers(port)) for role, port in self.config["registries"].items()
        ]

    def certificates(self) -> list[facts.Sample]:
        """K3s's own; its authorities last for ten years."""
        now = time.monotonic()
        if not self.files or now - self.seldom > SELDOM:
            self.seldom, self.files = now, []
            for folder in self.config["certificates"]:
                for path in sorted(Path(folder).glob("*.crt")):
                    if not path.stem.endswith("-ca"):
                        ends = ask.ends(path.read_text(encoding="ascii"))
                        labels = {"kind": "cluster", "name": path.stem}
                        self.files.append(("certificate_ends_timestamp_seconds", labels, ends))
        return self.files


def _checks(body: bytes) -> dict[str, Any] | None:
    """BinderHub's health, whatever its status; None where the answer is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "checks" in found else None


def main() -> None:
    """The unit binder-node-measure.service is its only caller: ``python3 -m on_node.measure CONFIG``."""
    with open(sys.argv[1], encoding="utf-8") as file:
        measure = Measure(json.load(file))
    while True:
        began = time.monotonic()
        measure.round()
        time.sleep(max(1.0, (ROUND if measure.renewed else SOON) - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
