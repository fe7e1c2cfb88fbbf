"""One whole node for all tests that do not break theirs; where tests run in several processes, one for each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.node.harness import Home, make_home

FIRST, OTHERS = "198.18.40", "198.18.3"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node brought up by one command, with the testbed's world beside it."""
    # pytest-xdist's name of the process: gw0, gw1, ...
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    name, network = ("alpha", FIRST) if number == "0" else (f"alpha{number}", f"{OTHERS}{number}")
    made = make_home(tmp_path_factory.mktemp("node"), name, network)
    try:
        made.up().ok()
        made.world("up")
        yield made
    finally:
        made.world("down")
        made.run("destroy", "--yes", made.name).ok()


@pytest.fixture(scope="session")
def git(home: Home) -> str:
    """Where the world's repositories are: ``{git}/minimal.git``."""
    return home.git
