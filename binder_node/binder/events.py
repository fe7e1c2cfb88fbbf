"""BinderHub's build stream: server-sent events, decoded as they arrive. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from binder_node.secrets.masked import Masked

FINAL = ("ready", "failed")


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """One event. ``phase`` is ``waiting``, ``fetching``, ``building``, ``pushing``, ``built``, ``launching``,
    ``ready``, ``failed`` or, for a line of a log, empty or that of its step.

    ``url`` (with a slash at its end) and ``token`` come with ``ready``; ``status_code`` with some failures, else 0.
    """

    phase: str
    message: str = ""
    image: str = ""
    url: str = ""
    token: Masked = field(default_factory=lambda: Masked(""))
    status_code: int = 0
    repo_url: str = ""


class Decoder:
    """Turns text as it arrives into events; comments (BinderHub's ``:keepalive``) are dropped.

    Lines end as the standard says (LF, CR LF): not at every character that Python takes for a line's end, which may
    stand in a log's text.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._data: list[str] = []

    def feed(self, text: str) -> Iterator[BuildEvent]:
        """Events that ``text`` completes. Raises ValueError when one is not a JSON object."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            line = line.removesuffix("\r")
            if line:
                name, _, value = line.partition(":")
                if name == "data":
                    self._data.append(value.removeprefix(" "))
            elif self._data:
                data, self._data = "\n".join(self._data), []
                yield event_of(json.loads(data))


def event_of(raw: Any) -> BuildEvent:
    """One decoded event. Raises ValueError when it is no object."""
    if not isinstance(raw, dict):
        raise ValueError("an event that is no object")
    url = _text(raw, "url")
    code = raw.get("status_code")
    return BuildEvent(
        phase=_text(raw, "phase"),
        message=_text(raw, "message"),
        image=_text(raw, "image") or _text(raw, "imageName"),
        url=url if not url or url.endswith("/") else f"{url}/",
        token=Masked(_text(raw, "token")),
        status_code=code if isinstance(code, int) else 0,
        repo_url=_text(raw, "repo_url"),
    )


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""
