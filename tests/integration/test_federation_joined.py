"""The real redirector on the files that `register` and `leave` write, phase by phase, and on those that they refuse.

Runs where BINDER_NODE_REDIRECTOR names a checkout of jupyterhub/mybinder.org-deploy; it is not part of this project.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from binder_node.errors import InputError
from binder_node.federation import checkout
from binder_node.federation.entry import Entry
from binder_node.federation.leave import leave
from binder_node.federation.register import register
from tests.integration.federation_fixtures import CHECKOUT, PlayedMember, config, members, redirector, redirector_folder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        redirector_folder() is None, reason=f"{CHECKOUT} names no checkout of jupyterhub/mybinder.org-deploy"
    ),
]
PROD = "config/prod.yaml"
VALUES = """\
# The redirector's
federationRedirect:
  hosts:
    one:
      prime: true
      url: {one.url}
      weight: 60
      health: {one.url}/health
      versions: {one.url}/versions
    two:
      prime: false
      url: {two.url}  # since May
      weight: 40
      health: {two.url}/health
      versions: {two.url}/versions
"""
Played = dict[str, PlayedMember]


@pytest.fixture
def three() -> Iterator[Played]:
    with members("one", "two", "lab") as found:
        yield found


@pytest.fixture
def folder() -> Path:
    found = redirector_folder()
    assert found is not None
    return found


def settings(text: str) -> dict[str, Any]:
    """The redirector's own file, as the federation's chart makes it of its values; with times fit for a test."""
    return {**config({}), "hosts": YAML(typ="safe").load(text)["federationRedirect"]["hosts"]}


def applied(files: dict[str, str], changed: Any) -> dict[str, str]:
    return {path: text for path, text in {**files, **changed}.items() if text is not None}


def test_every_phase_of_joining_and_leaving_is_one_that_it_starts_with(
    three: Played, folder: Path, tmp_path: Path
) -> None:
    lab = Entry("lab", three["lab"].url, central=False)
    before = {PROD: VALUES.format(**three)}
    there = applied(before, register(before, None, lab).files)
    with redirector(folder, settings(there[PROD]), tmp_path) as running:
        running.until({"one", "two", "lab"}, 5)
        taken = {running.route(f"/build/gh/a/b/{number}") for number in range(200)}
        assert taken == {member.url for member in three.values()}
        three["lab"].quota = 0
        running.until({"one", "two"}, 5)  # drained by its quota alone, before any file changes
    for phase, active in (("weight", {"one", "two"}), ("remove", {"one", "two"})):
        there = applied(there, leave(there, None, lab, phase).files)  # type: ignore[arg-type]
        with redirector(folder, settings(there[PROD]), tmp_path) as running:
            running.until(active, 5)
    assert there == before


def test_the_prime_leaves_and_the_next_one_answers_for_it(three: Played, folder: Path, tmp_path: Path) -> None:
    one = Entry("one", three["one"].url, central=False)
    there = {PROD: VALUES.format(**three)}
    for phase, active in (("prime", {"one", "two"}), ("weight", {"two"}), ("remove", {"two"})):
        there = applied(there, leave(there, None, one, phase).files)  # type: ignore[arg-type]
        with redirector(folder, settings(there[PROD]), tmp_path) as running:
            running.until(active, 5)
            three["one"].asked.clear()
            three["two"].asked.clear()
            httpx.get(f"{running.url}/about", timeout=10)
            assert ("/about" in three["two"].asked, "/about" in three["one"].asked) == (True, False)


@pytest.mark.parametrize("broken", ["null", "weight", "prime"])
def test_what_is_refused_is_what_it_dies_of(three: Played, folder: Path, tmp_path: Path, broken: str) -> None:
    text = VALUES.format(**three)
    text = {
        "null": text.replace("    two:\n", "    gone: null\n    two:\n"),
        "weight": text.replace("weight: 60", "weight: 0"),
        "prime": text.replace("prime: true", "prime: false"),
    }[broken]
    lab = Entry("lab", three["lab"].url, central=False)
    with (
        pytest.raises(AssertionError, match=r"KeyError|No prime host configured"),
        redirector(folder, settings(text), tmp_path),
    ):
        pass
    with pytest.raises(InputError):
        register({PROD: text}, None, lab)
    with pytest.raises(InputError):
        checkout.add_host(text, replace(lab.member(10), prime=False))
