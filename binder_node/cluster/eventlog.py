"""The BinderHub configuration that keeps the log of launches: a text for the chart's ``extraConfig``, and its mounts.

BinderHub's own event log throws every event away unless it is given handlers (binderhub/events.py). Ours writes a
file a day into a folder of the node: it outlives pods and K3s, and several BinderHub processes write to it.
"""

from __future__ import annotations

from string import Template
from typing import Any

from binder_node.errors import InputError, Problem
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

# Where the pod sees the node's folder, and the collector's key.
POD_EVENTS, POD_KEY = "/run/binder-node/events", "/etc/binder-node/collector.json"
VOLUME, KEY_FILE, TOKEN = "binder-node-events", "binder-node-collector", "collector"
CONFIG = "30-binder-node-events"

_SOURCE = Template('''\
import fcntl as _fcntl
import json as _json
import logging as _logging
import os as _os
import sys as _sys
import time as _time

import binderhub.app


class DayFileHandler(_logging.Handler):
    """A line an event, in the file of its day. Opened for each: nothing has to be rotated, and no handle goes stale."""

    def __init__(self, folder, name, most=None):
        super().__init__()
        self.folder, self.name_of, self.most = folder, name, most

    def emit(self, record):
        try:
            self.write(self.format(record))
        except OSError as error:
            # A launch is worth more than its event.
            print(f"binder-node: an event is lost: {error}", file=_sys.stderr, flush=True)

    def write(self, line):
        day = _json.loads(line)["timestamp"][:10]
        path = _os.path.join(self.folder, f"{self.name_of}-{day}.jsonl")
        file = _os.open(path, _os.O_RDWR | _os.O_APPEND | _os.O_CREAT, 0o600)
        try:
            _fcntl.flock(file, _fcntl.LOCK_EX)  # of other BinderHub processes; for microseconds
            size = _os.fstat(file).st_size
            if self.most is not None and size > self.most:
                return
            torn = size and _os.pread(file, 1, size - 1) != b"\\n"  # by a disk that was full
            data = ("\\n" if torn else "").encode() + line.encode() + b"\\n"
            if _os.write(file, data) != len(data):
                raise OSError("the disk is full")
        finally:
            _os.close(file)


def _collector():
    """As mybinder.org-deploy does it (mybinder/values.yaml): sent by a thread of its own."""
    import google.cloud.logging
    import google.cloud.logging.handlers

    # The import gives the root logger a handler, which would take the place of BinderHub's own.
    _logging.getLogger().handlers = []

    class CollectorHandler(google.cloud.logging.handlers.CloudLoggingHandler):
        def emit(self, record):
            record.name = None
            super().emit(record)

    client = google.cloud.logging.Client.from_service_account_json($key)
    return CollectorHandler(client, name=$log)


def _handlers(_):
    handlers = [DayFileHandler($folder, "events")]
    if $collect:
        try:
            handlers.append(_collector())
        except Exception as error:
            print(f"binder-node: the collector gets no events: {error!r}", file=_sys.stderr, flush=True)
    return handlers


c.EventLog.handlers_maker = _handlers

_failures = DayFileHandler($folder, "failures", most=$most)


def _recording(base):
    class RecordingBuildHandler(base):
        """BinderHub's events are of launches that succeeded; an operator wants to know of the others, too."""

        recorded = False
        phase = ""

        async def emit(self, data):
            self.look(data)
            await super().emit(data)

        def send_error(self, status_code, **kwargs):
            error = (kwargs.get("exc_info") or (None, None))[1]
            self.look({"phase": "failed", "message": getattr(error, "log_message", None) or str(error or status_code)})
            super().send_error(status_code, **kwargs)

        def look(self, data):
            try:
                event = _json.loads(data) if isinstance(data, str) else data
                phase = event.get("phase")
                if phase not in ("failed", "failure"):
                    self.phase = phase or self.phase
                elif not self.recorded and self.phase != "ready":
                    self.recorded = True
                    self.record(str(event.get("message", "")))
            except (ValueError, AttributeError, OSError) as error:
                print(f"binder-node: a failure is not recorded: {error}", file=_sys.stderr, flush=True)

        def record(self, message):
            _failures.write(
                _json.dumps(
                    {
                        "timestamp": _time.strftime("%Y-%m-%dT%H:%M:%SZ", _time.gmtime()),
                        "path": self.request.path.partition("/build/")[2][:500],
                        "phase": self.phase,
                        "message": message.strip()[:500],
                    }
                )
            )

    return RecordingBuildHandler


if hasattr(binderhub.app, "BuildHandler"):
    binderhub.app.BuildHandler = _recording(binderhub.app.BuildHandler)
else:
    print("binder-node: failures are not recorded: this BinderHub has no BuildHandler", file=_sys.stderr, flush=True)
''')
# Bytes of failures a day: who asks for nonsense all day long does not fill the disk.
MOST_FAILURES = 20_000_000


def eventlog_source(spec: Spec) -> str:
    """Python source for BinderHub's ``extraConfig``. Tried with the event log of binderhub b9fad995.

    The handler class is put where BinderHub's application looks it up: there is no setting for it. The application's
    own module is imported by the time the configuration is read.
    """
    return _SOURCE.substitute(
        folder=repr(POD_EVENTS),
        collect=repr(spec.events.collector == "google"),
        key=repr(POD_KEY),
        log=repr(spec.events.log),
        most=repr(MOST_FAILURES),
    )


def eventlog_values(spec: Spec, secrets: Secrets, folder: str) -> dict[str, Any]:
    """What of the release's values belongs to it, but for ``extraConfig``. ``folder`` is the node's.

    Raises:
        InputError: launches are to be told to a collector whose key is not there.
    """
    found: dict[str, Any] = {
        "extraVolumes": [{"name": VOLUME, "hostPath": {"path": folder, "type": "Directory"}}],
        "extraVolumeMounts": [{"name": VOLUME, "mountPath": POD_EVENTS}],
    }
    if spec.events.collector == "google":
        key = secrets.tokens.get(TOKEN)
        if key is None:
            right = f"give it by `binder-node secrets set {spec.name} tokens.{TOKEN}`, or write collector: none"
            wrong = "there is no key of the collector's"
            raise InputError(Problem("", 0, f"{spec.name}: events.collector", wrong, right))
        found["extraFiles"] = {KEY_FILE: {"mountPath": POD_KEY, "stringData": key}}
    return found
