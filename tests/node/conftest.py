"""One whole node for all tests that do not break theirs; where tests run in several processes, one for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.harness import Home, lent, make_home, shared_node

# What timers start and is written down: what failed last runs again, what is under way ends, then none begins.
HOLD = r"""
set -e
cd /var/lib/binder-node/jobs
for record in *.json; do
	unit=binder-node-${record%.json}.service
	grep -q '"result": "success"' $record || systemctl start $unit
	mkdir -p /run/systemd/system/$unit.d
	printf '[Unit]\nConditionPathExists=!/run/held\n' > /run/systemd/system/$unit.d/held.conf
done
touch /run/held
systemctl daemon-reload
for unit in /run/systemd/system/*.service.d; do
	unit=$(basename $unit .d)
	[ "$(systemctl show -P ActiveState $unit)" != activating ] || systemctl start $unit
done
"""
RELEASE = "rm /run/held /run/systemd/system/binder-node-*.service.d/held.conf && systemctl daemon-reload"


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


@pytest.fixture(scope="module")
def still(home: Home) -> Iterator[None]:
    """Nothing begins on a timer meanwhile, and nothing has failed before: what a check says is of the fault alone."""
    home.ssh(HOLD, timeout=300)
    yield
    home.ssh(RELEASE)
