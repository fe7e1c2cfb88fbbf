"""What holds for every test."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

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

# Those of them that take longest, by what they wait for: first, so that nothing waits for them in the end.
LONGEST = ("test_providers_openstack_faults.py", "test_provider_faults.py", "test_testbed_openstack.py")


def pytest_configure() -> None:
    """Let what tests start be interrupted: a shell's background job ignores SIGINT, and so would all its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may run side by side. The rest runs by files, any two of which have machines and networks of their
    own, but for the shared node (tests/node/conftest.py), which each process has one of.
    """
    here = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(here):
            continue  # the package's own checks (`pytest --pyargs binder_node.smoke`) come by here in a checkout
        if item.path.relative_to(here).as_posix().startswith(BESIDE):
            item.add_marker(pytest.mark.beside)
    items.sort(key=lambda item: item.path.name not in LONGEST)
