"""What a list is asked for: label selectors, filters, order and pages. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.testbed.hetzner.errors import invalid

PER_PAGE = 25
MOST_PER_PAGE = 50

# https://docs.hetzner.cloud/reference/cloud#labels: an optional prefix that is a DNS name, then a name.
KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[a-z0-9A-Z]([a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?$"
)
VALUE = re.compile(r"^([a-z0-9A-Z]([a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?)?$")


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, where the API would take them. Raises ApiError ``invalid_input``."""
    for key, value in labels.items():
        prefix, _, _ = key.rpartition("/")
        if not KEY.match(key) or len(prefix) > 253:
            raise invalid("labels", f"label key '{key}' is not valid")
        if not VALUE.match(value):
            raise invalid("labels", f"label value '{value}' of key '{key}' is not valid")
    return dict(labels)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of a selector: ``key`` is (``wanted``) or is not one of ``values``; no values: that it exists."""

    key: str
    values: frozenset[str] | None
    wanted: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        if self.values is None:
            return (self.key in labels) is self.wanted
        if self.wanted:
            return labels.get(self.key) in self.values
        return labels.get(self.key) not in self.values


SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")


def parse_selector(text: str) -> tuple[Term, ...]:
    """``k``, ``!k``, ``k=v``, ``k==v``, ``k!=v``, ``k in (a,b)``, ``k notin (a,b)``, joined by commas.

    Raises ApiError ``invalid_input`` where it is none of these: a selector that is misread deletes strangers' servers.
    """
    terms = []
    for part in filter(None, (part.strip() for part in re.split(r",(?![^(]*\))", text))):
        if match := SET.match(part):
            key, verb, inner = match.groups()
            term = Term(key, frozenset(value.strip() for value in inner.split(",")), verb == "in")
        elif "!=" in part:
            key, _, value = part.partition("!=")
            term = Term(key.strip(), frozenset([value.strip()]), False)
        elif "=" in part:
            key, _, value = part.partition("=")
            term = Term(key.strip(), frozenset([value.removeprefix("=").strip()]), True)
        else:
            term = Term(part.removeprefix("!").strip(), None, not part.startswith("!"))
        if not KEY.match(term.key) or not all(VALUE.match(value) for value in term.values or ()):
            raise invalid("label_selector", f"'{part}' is not valid")
        terms.append(term)
    return tuple(terms)


def selected(labels: Mapping[str, str], selector: str) -> bool:
    return all(term.holds(labels) for term in parse_selector(selector))


def ordered(rows: Iterable[dict[str, Any]], sorts: Sequence[str], fields: Iterable[str]) -> list[dict[str, Any]]:
    """``rows`` by ``sort=field:asc|desc``, the first the strongest; without any, by id."""
    found = sorted(rows, key=lambda row: str(row["id"]) if isinstance(row["id"], str) else f"{row['id']:020d}")
    for sort in reversed(sorts):
        field, _, way = sort.partition(":")
        if field not in fields or way not in ("", "asc", "desc"):
            raise invalid("sort", f"'{sort}' is not a valid order")
        found.sort(key=lambda row: (row[field] is None, row[field] or 0), reverse=way == "desc")
    return found


def page_of(rows: Sequence[Any], page: str, per_page: str) -> tuple[list[Any], dict[str, Any]]:
    """The rows of one page, and the ``meta`` object beside them."""
    numbers = {"page": page or "1", "per_page": per_page or str(PER_PAGE)}
    for name, text in numbers.items():
        if not text.isdecimal() or int(text) < 1:
            raise invalid(name, "must be a positive number")
    at, size = int(numbers["page"]), min(int(numbers["per_page"]), MOST_PER_PAGE)
    last = max(1, -(-len(rows) // size))
    meta = {
        "page": at,
        "per_page": size,
        "previous_page": at - 1 if at > 1 else None,
        "next_page": at + 1 if at < last else None,
        "last_page": last,
        "total_entries": len(rows),
    }
    return list(rows[(at - 1) * size : at * size]), {"pagination": meta}
