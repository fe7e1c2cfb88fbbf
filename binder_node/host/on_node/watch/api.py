"""Kubernetes' own watch, by HTTPS with K3s's kubeconfig: each change of an object as it happens, in a queue."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from queue import Queue
from typing import Any

# Between two tries: K3s starts, or is being restarted.
PAUSE = 5.0
# The server ends a watch by itself then; a connection that is silent for longer is dead.
WATCH_SECONDS, DEAD_SECONDS = 300, 330
FIELDS = ("server", "certificate-authority-data", "client-certificate-data", "client-key-data")


def credentials(text: str) -> dict[str, str]:
    """What K3s's kubeconfig says of its one cluster and user; raises KeyError where something is missing."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(": ")
        if name in FIELDS:
            found[name] = value.strip('"')
    return {name: found[name] for name in FIELDS}


def context(said: dict[str, str]) -> ssl.SSLContext:
    """TLS towards the API server as the kubeconfig's user. The key lies in a file for as long as it is being read."""
    made = ssl.create_default_context(cadata=base64.b64decode(said["certificate-authority-data"]).decode())
    # From Python 3.13 on a default, which authorities without a key identifier do not pass.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with tempfile.NamedTemporaryFile(dir=os.environ.get("RUNTIME_DIRECTORY")) as file:
        file.write(base64.b64decode(said["client-certificate-data"]))
        file.write(base64.b64decode(said["client-key-data"]))
        file.flush()
        made.load_cert_chain(file.name)
    return made


class Watch(threading.Thread):
    """Puts ``(kind, "SEEN" | "ADDED" | "MODIFIED" | "DELETED" | "LISTED", object)`` for each object below ``path``.

    After a list comes one ``LISTED``: what was not in it is gone.
    """

    def __init__(self, kubeconfig: str, kind: str, path: str, out: Queue[tuple[str, str, Any]]) -> None:
        super().__init__(daemon=True, name=kind)
        self.kubeconfig, self.kind, self.path, self.out = kubeconfig, kind, path, out

    def run(self) -> None:
        said = ""
        while True:
            try:
                self.follow()
            except (OSError, KeyError, ValueError, urllib.error.URLError) as error:
                if str(error) != said:
                    print(f"{self.kind}: {error}; trying again", file=sys.stderr, flush=True)
                said = str(error)
                time.sleep(PAUSE)

    def follow(self) -> None:
        """One list, and one watch to its end."""
        with open(self.kubeconfig, encoding="utf-8") as file:
            said = credentials(file.read())
        secure = context(said)
        url = f"{said['server']}{self.path}"
        with urllib.request.urlopen(url, timeout=60, context=secure) as answer:
            listed = json.load(answer)
        for found in listed["items"]:
            self.out.put((self.kind, "SEEN", found))
        self.out.put((self.kind, "LISTED", None))
        version = listed["metadata"]["resourceVersion"]
        ask = f"{url}?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        with urllib.request.urlopen(ask, timeout=DEAD_SECONDS, context=secure) as answer:
            for line in answer:
                change = json.loads(line)
                if change["type"] == "ERROR":  # its version is too old: list again
                    return
                if change["type"] != "BOOKMARK":
                    self.out.put((self.kind, change["type"], change["object"]))
