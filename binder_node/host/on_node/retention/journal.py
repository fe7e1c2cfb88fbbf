"""The registry's access log, from the machine's journal: what came after a place in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..s3 import Failure
from .images import Request, request_of


@dataclass
class Read:
    """``uses``: the requests about manifests, with their times; ``cursor`` is the place of the last line, empty where
    there is none. Not ``whole``: what came right after the place that was asked for is not there any more. ``first``
    is the time of the first line, 0 where there is none."""

    requests: list[tuple[float, Request]] = field(default_factory=list)
    cursor: str = ""
    whole: bool = True
    first: float = 0.0


def lines(command: Sequence[str], cursor: str) -> Iterator[tuple[str, float, str]]:
    """Place, time and text of each line from ``cursor`` on, that one included. Raises Failure where it cannot be read.

    ``command`` is journalctl with the units that are asked for.
    """
    argv = [*command, *([f"--cursor={cursor}"] if cursor else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            found = json.loads(line)
            message = found.get("MESSAGE")
            # What is no text comes as a list of bytes, and is none of the access log's.
            yield (
                found["__CURSOR"],
                int(found["__REALTIME_TIMESTAMP"]) / 1e6,
                message if isinstance(message, str) else "",
            )
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise Failure(f"the journal cannot be read: {(said.splitlines() or [f'code {process.returncode}'])[-1]}")


def read(command: Sequence[str], cursor: str) -> Read:
    """All after ``cursor``; with none, all there is."""
    found = Read(cursor=cursor)
    for number, (place, at, text) in enumerate(lines(command, cursor)):
        if number == 0:
            found.first = at
            if cursor and place == cursor:
                continue
            found.whole = not cursor
        found.cursor = place
        request = request_of(text)
        if request is not None and request.used:
            found.requests.append((at, request))
    if cursor and not found.first:
        found.whole = False
    return found
