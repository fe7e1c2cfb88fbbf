"""BinderHub's event stream: bytes in, events out. Pure but for the iterator that it reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# A line of a build's log is some hundred bytes; a server that sends no end of line is none of BinderHub's.
LONGEST_LINE = 4_000_000


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """One event of a build: ``waiting``, ``fetching``, ``building``, ``pushing``, ``built``, ``launching``, ``ready``,
    ``failed``, ... ``message`` is text for a person. ``url`` (ends in ``/``), ``token`` and ``image`` come with
    ``ready``; ``status`` is the HTTP status that an early error stands for, 0 when there is none.
    """

    phase: str
    message: str = ""
    url: str = ""
    token: str = field(default="", repr=False)
    image: str = ""
    status: int = 0

    @property
    def last(self) -> bool:
        """Nothing comes after it."""
        return self.phase in ("ready", "failed")


class StreamError(ValueError):
    """What came is no event of BinderHub's; the client turns it into a StepError."""


def events(chunks: Iterable[bytes]) -> Iterator[BuildEvent]:
    """The events in a stream of server-sent events, as the chunks arrive; comments (keepalives) are passed over."""
    for data in _data(_lines(chunks)):
        yield event(data)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # Not str.splitlines: it also breaks at characters that are ordinary ones in JSON.
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > LONGEST_LINE:
            raise StreamError(f"a line of more than {LONGEST_LINE} bytes")


def _data(lines: Iterable[str]) -> Iterator[str]:
    """Each event's data; an event is what stands before an empty line, what is cut off is dropped."""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))


def event(data: str) -> BuildEvent:
    """One event from its JSON. Raises StreamError where it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StreamError(f"no event: {data[:200]}")
    status = found.get("status_code")
    return BuildEvent(
        phase=_text(found, "phase"),
        message=_text(found, "message"),
        url=_text(found, "url"),
        token=_text(found, "token"),
        image=_text(found, "image") or _text(found, "imageName"),
        status=status if isinstance(status, int) else 0,
    )


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""
