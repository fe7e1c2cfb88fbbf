"""The public archive of launches: which repositories are launched most. Pure.

Files ``events-YYYY-MM-DD.jsonl``, one launch a line (schema ``binderhub.jupyter.org/launch``); a new version of the
schema may add keys, so that only those that are needed are looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

URL = "https://archive.analytics.mybinder.org"
SCHEMA = "binderhub.jupyter.org/launch"
# Providers by their names in events (binderhub/repoproviders.py), and what /build calls them.
PROVIDERS = {
    "GitHub": "gh", "Gist": "gist", "GitLab": "gl", "Git": "git", "Zenodo": "zenodo", "Figshare": "figshare",
    "Dataverse": "dataverse", "Hydroshare": "hydroshare", "CKAN": "ckan",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Popular:
    """A repository at a ref, as ``/build/`` takes it, and how often it was launched."""

    path: str
    launches: int


def file_name(day: date) -> str:
    """The archive's file of a day (UTC)."""
    return f"events-{day.isoformat()}.jsonl"


def days(today: date, count: int) -> list[date]:
    """The last ``count`` whole days before ``today``: its own file is still being written."""
    return [today - timedelta(days=number) for number in range(1, count + 1)]


def launched(lines: Iterable[str]) -> Iterator[str]:
    """The repositories of successful launches, as ``/build/`` takes them; lines that are no such events are skipped.

    A repository that was asked for by a host's default branch is the same for all its launches: HEAD stays HEAD.
    """
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict) or event.get("schema") != SCHEMA or event.get("status") != "success":
            continue
        prefix, spec = PROVIDERS.get(str(event.get("provider"))), event.get("spec")
        if prefix and isinstance(spec, str) and spec.strip("/"):
            yield f"{prefix}/{spec.strip('/')}"


def popular(paths: Iterable[str], count: int) -> list[Popular]:
    """The ``count`` most launched, the most first, those that are level by their names."""
    found = Counter(paths)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [Popular(path, launches) for path, launches in ranked[:count]]
