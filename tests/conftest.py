"""What holds for every test."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Tests that share no machine, network, mount or port with any other: `make test` runs these side by side, and the
# others two at a time. Clouds' stand-ins wait more than they compute.
BESIDE = (
    "unit/",
    "integration/hetzner/",
    "integration/test_binder_client.py",
    "integration/test_cli_prices.py",
    "integration/test_federation_check.py",
    "integration/test_federation_git.py",
    "integration/test_federation_canary.py",
    "integration/test_federation_weight.py",
    "integration/test_fleet_browser.py",
    "integration/test_host_watch_api.py",
    "integration/test_load_browser.py",
    "integration/test_load_command.py",
    "integration/test_load_run.py",
    "integration/test_load_target.py",
    "integration/test_load_watch.py",
    "integration/test_metrics_delivery.py",
    "integration/test_metrics_rules.py",
    "integration/test_names_cloudflare.py",
    "integration/test_names_hetzner.py",
    "integration/test_pins_command.py",
    "integration/test_pins_recipe.py",
    "integration/test_providers_openstack.py",
    "integration/test_providers_openstack_faults.py",
    "integration/test_status_all.py",
    "integration/test_testbed_hetzner.py",
    "integration/test_testbed_hetzner_cli.py",
    "integration/test_testbed_hetzner_faults.py",
    "integration/test_testbed_hetzner_schema.py",
    "integration/test_testbed_openstack.py",
    "integration/test_upgrade_pinning.py",
)

# Tests on the node that they share (``home`` of tests/node/conftest.py): one process runs them all, so that there is
# only one.
ON_THE_SHARED_NODE = tuple(
    f"tests/node/test_{name}.py"
    for name in (
        "abuse",
        "backup",
        "capacity",
        "events",
        "federation",
        "federation_weight",
        "housekeeping",
        "hub_cache",
        "isolation",
        "launch",
        "load",
        "metrics",
        "restart",
        "rotate",
        "rotation",
        "smoke",
        "smoke_deep",
        "status",
        "up",
        "upgrade",
    )
)

# Of the tests beside each other those that take longest, by what they wait for: first, so that nothing waits for them
# in the end.
LONGEST = ("test_providers_openstack_faults.py", "test_provider_faults.py", "test_testbed_openstack.py")


def pytest_configure() -> None:
    """Let what tests start be interrupted: a shell's background job ignores SIGINT, and so would all its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def uses_the_shared_node(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    homes = item._fixtureinfo.name2fixturedefs.get("home", ())
    return bool(homes) and homes[-1].baseid == "tests/node"


def order(item: pytest.Item) -> tuple[bool, bool, bool]:
    """What takes longest first: two processes share the work best when it is small at the end."""
    file = item.nodeid.split("::")[0]
    return (item.path.name not in LONGEST, file not in ON_THE_SHARED_NODE, not file.startswith("tests/node/"))


class ByMachine(LoadFileScheduling):
    """Files by process, and all of those on the shared node as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the shared node" if file in ON_THE_SHARED_NODE else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """For ``--dist loadfile``; None leaves the others to xdist."""
    return ByMachine(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may run side by side. The rest runs by files, any two of which have machines and networks of their
    own, but for those on the shared node.

    Raises ``pytest.UsageError`` for a test on the shared node that ``ON_THE_SHARED_NODE`` does not know.
    """
    here = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(here):
            continue  # the package's own checks (`pytest --pyargs binder_node.smoke`) come by here in a checkout
        if item.path.relative_to(here).as_posix().startswith(BESIDE):
            item.add_marker(pytest.mark.beside)
        if uses_the_shared_node(item) and not item.nodeid.startswith(ON_THE_SHARED_NODE):
            raise pytest.UsageError(f"{item.nodeid}: uses the shared node; name it in tests/conftest.py")
    items.sort(key=order)
