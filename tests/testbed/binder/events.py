"""The event log, as upstream has it: one JSON object an event, thrown away unless there are handlers for it.

Upstream's formatter is python-json-logger's; this one writes the same lines without it.
"""

from __future__ import annotations

import datetime
import json
import logging
from typing import Any as AnyType

from traitlets import Callable
from traitlets.config import Configurable

SCHEMA, VERSION = "binderhub.jupyter.org/launch", 6


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.msg)


class EventLog(Configurable):
    """``handlers_maker`` is called with this object, and returns ``logging.Handler``s."""

    handlers_maker = Callable(None, config=True, allow_none=True)

    def __init__(self, **kwargs: AnyType) -> None:
        super().__init__(**kwargs)
        self.log = logging.getLogger(__name__)
        self.log.propagate = False
        self.log.setLevel(logging.INFO)
        if self.handlers_maker:
            for handler in self.handlers_maker(self):
                handler.setFormatter(_Lines())
                self.log.addHandler(handler)

    def emit(self, event: dict[str, AnyType]) -> None:
        """Tell of one launch."""
        if not self.handlers_maker:
            return
        now = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.log.info({"timestamp": now, "schema": SCHEMA, "version": VERSION, **event})
