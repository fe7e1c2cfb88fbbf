"""The document, its page, and two of them side by side."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.load import compare, report
from binder_node.load.result import read, write
from tests.unit.load_samples import failed, result, visit

MANY = (
    *(visit(number, 2.0 + number % 3, answered=4.0) for number in range(20)),
    failed(20),
    visit(21, 40.0, kind="built"),
)
# What a page may not need: anything that is not in it.
OUTSIDE = ("src", "href", "srcset", "data", "action")


class Page(HTMLParser):
    """A page's words, what it opens, and what it would load."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.outside: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [f"{tag} {name}" for name, _ in attrs if name in OUTSIDE]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    write(result(*MANY), file)
    assert read(file) == result(*MANY)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "is no JSON"),
        ("[]", "kind: is not binder-node-load"),
        ('{"kind": "binder-node-load", "version": 2}', "version: 2 is another version's"),
        ('{"kind": "binder-node-load", "version": 1, "visits": [{"number": "x"}]}', r"visits\.0\.number"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "load.json"
    file.write_text(text)
    with pytest.raises(InputError, match=f"load.json: {wrong}"):
        read(file)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    page = Page(report.html(result(*MANY)))
    assert page.open == []
    assert page.outside == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 4  # launches, their shares, users, the node
    text = " ".join(page.words)
    assert "pip: no such <package>" in text
    assert "2 cores, 12.0 GB of memory, 40.0 GB of disk; quota 20, 30 pods" in text
    assert page.tags.count("circle") == 21


def test_a_load_in_which_nothing_worked_has_a_page() -> None:
    for one in (result(), result(failed(0)), result(visit(0, None, outcome="held", kind=""), machines=())):
        assert Page(report.html(one)).open == []


def test_a_federations_page_tells_who_served_whom() -> None:
    served = [visit(number, member="bids.example.org" if number % 3 else "gesis.example.org") for number in range(6)]
    text = " ".join(Page(report.html(result(*served, federation=True))).words)
    assert "Who served them" in text
    assert "gesis.example.org" in text


def test_two_loads_side_by_side() -> None:
    before = result(*(visit(number, 10.0) for number in range(10)))
    after = result(*(visit(number, 4.0) for number in range(9)), failed(9))
    rows = {row.name: row.texts[1:] for row in compare.rows(before, after)}
    assert rows["cached: p95 to ready"] == ("10.0 s", "4.0 s", "-60%")
    assert rows["failed or lost"] == ("0.0%", "10.0%", "+10.0 points")
    assert rows["users"] == ("10", "10", "")
    assert rows["CPU at most"] == ("50.0%", "50.0%", "")
    assert "built: p95 to ready" not in rows
    page = Page(report.comparison(before, after))
    assert (page.open, page.outside) == ([], [])


def test_loads_that_are_not_alike_are_told() -> None:
    before = result(settings={"rate": "6/m", "seed": 0, "repo": ["a"], "grace": "2m"})
    after = result(
        settings={"rate": "12/m", "seed": 0, "repo": ["a"], "grace": "5m", "cells": "x.py"}, stopped="interrupted"
    )
    assert compare.unlike(before, after) == (
        "--rate was 6/m, then 12/m",
        "--cells was not said, then x.py",
        "the second was interrupted",
    )
    assert compare.unlike(before, before) == ()
