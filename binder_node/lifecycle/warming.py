"""``warm``: the archive's files, from the web or a folder, and their most launched repositories on a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from binder_node.binder.client import Binder, told
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Event, Reporter
from binder_node.federation.archive import Popular, days, file_name, launched, popular


def most_launched(archive: str, count_days: int, top: int, report: Reporter) -> list[Popular]:
    """The ``top`` most launched repositories of the last ``count_days`` days in ``archive``, a URL or a folder.

    In a folder, its latest ``count_days`` files. A day that is missing is told and left out.

    Raises:
        InputError: the folder has no such files.
        StepError, DeadlineError: the archive does not answer, or has none of the days, or its files no launches.
    """
    found = popular(_launched(archive, count_days, report), top)
    if not found:
        remedy = "is it the archive of launches? another version of this program may know its files"
        raise StepError("here", f"count the launches in {archive}", "there is none that succeeded", remedy)
    return found


def _launched(archive: str, count_days: int, report: Reporter) -> Iterable[str]:
    """Repositories of each launch."""
    if "://" in archive:
        return _fetched(archive, count_days, report)
    folder = Path(archive)
    files = sorted(folder.glob("events-*.jsonl"))[-count_days:]
    if not files:
        right = "name a folder with events-YYYY-MM-DD.jsonl, or the archive's URL"
        raise InputError(Problem(archive, 0, "", "has no events-*.jsonl", right))
    return (path for file in files for path in _read(file))


def _read(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        yield from launched(lines)


def _fetched(archive: str, count_days: int, report: Reporter) -> list[str]:
    """Repositories of each launch; files have some ten thousand lines, which are read as they come."""
    found: list[str] = []
    had = 0
    with Binder(archive) as asked:
        for day in days(datetime.now(UTC).date(), count_days):
            url, what = f"{asked.base_url}/{file_name(day)}", f"fetch the launches of {day}"
            with asked.failures(what), asked.http.stream("GET", url, follow_redirects=True) as answer:
                if answer.status_code != 200:
                    answer.read()
                    report(Event("warn", "warm", f"{what}: {told(answer)}"))
                    continue
                found.extend(launched(answer.iter_lines()))
                had += 1
    if not had:
        raise StepError(asked.name, "fetch the archive of launches", "it has none of the days", "see --archive")
    return found
