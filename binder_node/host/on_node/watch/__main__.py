"""The loop: what the firewall counted, who that was, and what became of pods; told to the journal."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from . import facts, steps
from .api import Watch
from .journal import Journal, keep_log, tail, tidy_logs

TABLE = ("inet", "binder_node")
CUTS = {"too_fast": "cut", "too_many": "cut", "mailers": "refused", "asked_banned": "refused"}
# Seconds between two looks: at counters, at whom sources have met, at files to tidy.
LOOK, MET, TIDY = 1.0, 10.0, 3600.0
# A target is told of again when it was asked for this long (seconds) after it was told of last.
AGAIN = 600.0


def nft(*words: str, text: str | None = None) -> str:
    """nft's output, empty where it fails (there is no table while it is replaced by hand)."""
    done = subprocess.run(
        ["/usr/sbin/nft", *words], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        print(f"nft {' '.join(words)}: {done.stderr.strip()}", file=sys.stderr, flush=True)
    return done.stdout if done.returncode == 0 else ""


class Watcher:
    """All that is known now: pods by uid, and what the sets held at the last look."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.journal = Journal(Path(given.state), given.days)
        self.logs = Path(given.logs)
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.pods: dict[str, facts.Pod] = {}
        self.states: dict[str, str] = {}
        self.listed: set[str] = set()
        self.events: set[tuple[str, str]] = set()
        self.relisted: set[tuple[str, str]] = set()
        self.sets: dict[str, dict[facts.Key, tuple[int, int]]] = {name: {} for name in CUTS}
        self.told: dict[facts.Key, float] = {}
        self.kept = self.journal.totals()

    # --- what pods do ---

    def change(self, kind: str, what: str, found: Any, now: float) -> None:
        """One change that Kubernetes told."""
        if kind == "events":
            self.event(what, found, now)
        elif what == "LISTED":
            for uid in set(self.pods) - self.listed:
                self.forget(uid, now)
            self.listed = set()
        else:
            self.pod(what, found, now)

    def event(self, what: str, found: Any, now: float) -> None:
        """Each event once, though every list has all of the last hour."""
        if what == "LISTED":
            self.events, self.relisted = self.relisted, set()
            return
        mark = (found["metadata"]["uid"], found["metadata"]["resourceVersion"])
        if what == "SEEN":
            self.relisted.add(mark)
        record = facts.event(found) if what != "DELETED" and mark not in self.events else None
        if record is not None:
            self.events.add(mark)
            self.journal.write(record, now)

    def pod(self, what: str, found: Any, now: float) -> None:
        pod, state = facts.pod(found), facts.state(found)
        if what == "SEEN":
            self.listed.add(pod.uid)
        self.pods[pod.uid] = pod
        if pod.kind != "system" and self.states.get(pod.uid) != state:
            self.states[pod.uid] = state
            self.journal.write({"kind": "pod", "who": pod.who(), "address": pod.address, "state": state}, now)
        if what == "DELETED":
            self.forget(pod.uid, now)

    def forget(self, uid: str, now: float) -> None:
        pod = self.pods.pop(uid)
        if self.states.pop(uid, None) is not None:
            self.journal.write({"kind": "pod", "who": pod.who(), "address": pod.address, "state": "gone"}, now)

    def who(self, source: str) -> dict[str, Any]:
        """Whose address it is now."""
        # Of two with one address the younger: the API tells of the older one's end a little late.
        found = [pod for pod in self.pods.values() if pod.address == source]
        if found:
            return found[-1].who()
        if IPv4Address(source) not in IPv4Network(self.given.builds):
            return {"kind": "unknown"}
        command = steps.command(self.given.group, source)
        builds = [pod for pod in self.pods.values() if pod.kind == "build"]
        logs = {pod.name: tail(pod.namespace, pod) for pod in builds} if len(builds) > 1 and command else {}
        likely = facts.builders(builds, command, logs)
        told: dict[str, Any] = {"kind": "build", "step": command[:300]}
        if len(likely) == 1:
            return {**told, **likely[0].who()}
        return {**told, "likely": [pod.who() for pod in likely]}

    # --- what the firewall counted ---

    def look(self, now: float) -> None:
        """The counters; and the sets of those who were cut, when something was counted or somebody still is."""
        text = nft("-j", "list", "counters", "table", *TABLE)
        if not text:
            return
        count = facts.counters(json.loads(text))
        if count != self.kept["last"]:
            self.kept["totals"] = facts.added(self.kept["totals"], self.kept["last"], count)
            self.kept["last"] = count
            self.journal.keep_totals(self.kept)
        elif not any(self.sets[name] for name in CUTS):
            return
        for name, kind in CUTS.items():
            self.sets[name] = self.compare(name, kind, self.sets[name], now)

    def compare(
        self, name: str, kind: str, before: dict[facts.Key, tuple[int, int]], now: float
    ) -> dict[facts.Key, tuple[int, int]]:
        """Tell what is new in a set and what is over; returns what it holds."""
        text = nft("-j", "list", "set", *TABLE, name)
        if not text:
            return before
        found = facts.elements(json.loads(text))
        for key in found.keys() - before.keys():
            to = {"to": ":".join(key[1:])} if key[1:] else {}
            self.journal.write({"kind": kind, "why": name, "source": key[0], **to, "who": self.who(key[0])}, now)
        for key in before.keys() - found.keys():
            if kind == "cut":
                self.journal.write({"kind": "free", "why": name, "source": key[0], "packets": before[key][0]}, now)
        return found

    def meet(self, now: float) -> None:
        """Whom sources have met since the last look: the time is that of the last connection."""
        text = nft("-j", "list", "set", *TABLE, "met")
        found = facts.elements(json.loads(text)) if text else {}
        known: dict[str, dict[str, Any]] = {}
        for key, (_, left) in found.items():
            last = now - (self.given.met - left)
            if key not in self.told or last - self.told[key] > AGAIN:
                if key[0] not in known:
                    known[key[0]] = self.who(key[0])
                self.told[key] = last
                record = {"kind": "met", "source": key[0], "to": ":".join(key[1:]), "who": known[key[0]]}
                self.journal.write({**record, "at": facts.stamp(last)}, now)
        self.told = {key: last for key, last in self.told.items() if key in found}

    def keep_logs(self) -> None:
        for pod in self.pods.values():
            if pod.kind == "build":
                keep_log(self.logs, pod.namespace, pod.name, pod.uid)


def run(given: argparse.Namespace) -> None:
    """For ever: changes as they come, looks in their rhythm."""
    watcher, changes = Watcher(given), Queue[tuple[str, str, Any]]()
    Watch(given.kubeconfig, "pods", "/api/v1/pods", changes).start()
    Watch(given.kubeconfig, "events", f"/api/v1/namespaces/{given.namespace}/events", changes).start()
    due = {"met": 0.0, "tidy": 0.0}
    while True:
        end = time.monotonic() + LOOK
        while (left := end - time.monotonic()) > 0:
            try:
                kind, what, found = changes.get(timeout=left)
            except Empty:
                break
            watcher.change(kind, what, found, time.time())
        now, clock = time.time(), time.monotonic()
        watcher.look(now)
        watcher.keep_logs()
        if clock >= due["met"]:
            due["met"] = clock + MET
            watcher.meet(now)
        if clock >= due["tidy"]:
            due["tidy"] = clock + TIDY
            watcher.journal.tidy(now)
            tidy_logs(watcher.logs, given.days, now)


def main() -> None:
    """The command line; the unit binder-node-watch.service is its only caller."""
    parser = argparse.ArgumentParser(prog="watch")
    for name in ("state", "logs", "kubeconfig", "namespace", "builds", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--met", type=int, required=True, help="seconds for which the set `met` remembers a target")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
