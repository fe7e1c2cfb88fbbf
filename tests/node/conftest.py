"""One whole node for all tests that do not break theirs; where tests run in several processes, one for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.harness import Home, lent, make_home, shared_node


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node brought up by one command, with the testbed's world beside it."""
    with lent(make_home(tmp_path_factory.mktemp("node"), *shared_node())) as made:
        made.up().ok()
        made.world("up")
        yield made


@pytest.fixture(scope="session")
def git(home: Home) -> str:
    """Where the world's repositories are: ``{git}/minimal.git``."""
    return home.git
