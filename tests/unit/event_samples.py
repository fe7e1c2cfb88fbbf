"""BinderHub's event log as the tests know it, and the configuration snippet run in it."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binder_node.cluster import eventlog
from binder_node.spec.model import Spec


class Section:
    """``c.EventLog`` and the like."""


class Formatter(logging.Formatter):
    """A line as upstream's formatter writes it: the event alone."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.msg)


class BuildHandler:
    """What the snippet knows of BinderHub's own: a request, and what was sent."""

    def __init__(self, path: str = "/build/gh/org/name/HEAD") -> None:
        self.request = types.SimpleNamespace(path=path)
        self.sent: list[Any] = []

    async def emit(self, data: Any) -> None:
        self.sent.append(data)

    def send_error(self, status_code: int, **kwargs: Any) -> None:
        self.sent.append((status_code, kwargs))


@contextmanager
def configured(folder: Path, spec: Spec) -> Iterator[tuple[Any, Any]]:
    """The snippet of ``spec`` run as BinderHub runs it, with ``folder`` in its folder's place; the configuration, and
    the class that then handles builds."""
    package, app = types.ModuleType("binderhub"), types.ModuleType("binderhub.app")
    package.app = app  # type: ignore[attr-defined]
    if "BuildHandler" in globals():
        app.BuildHandler = BuildHandler  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("binderhub", "binderhub.app")}
    sys.modules.update({"binderhub": package, "binderhub.app": app})
    c = types.SimpleNamespace(EventLog=Section())
    source = eventlog.eventlog_source(spec).replace(repr(eventlog.POD_EVENTS), repr(str(folder)))
    try:
        exec(source, {"c": c})
        yield c, getattr(app, "BuildHandler", None)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def tell(handlers: list[logging.Handler], event: dict[str, Any]) -> None:
    """What the event log does with an event."""
    for handler in handlers:
        handler.setFormatter(Formatter())
        handler.handle(logging.LogRecord("events", logging.INFO, "", 0, event, None, None))


def launch(stamp: str, spec: str = "org/name/HEAD", **more: Any) -> dict[str, Any]:
    """An event as BinderHub b9fad995 writes it."""
    return {
        "timestamp": stamp,
        "schema": "binderhub.jupyter.org/launch",
        "version": 6,
        "provider": "GitHub",
        "spec": spec,
        "ref": "0" * 40,
        "status": "success",
        "build_token": False,
        "origin": "bids.example.org",
        "request_origin": "",
        **more,
    }
