"""Layer ``machine``: what the node stands on."""

from __future__ import annotations

import pytest

from binder_node import remote
from binder_node.smoke.checks import Trouble, check, expect


@check("machine.ssh", "the machine lets us in, with its own host key, and as root")
def test_ssh(request: pytest.FixtureRequest) -> None:
    # Asked for here: what the fixtures raise is then this check's failure.
    access, host = request.getfixturevalue("access"), request.getfixturevalue("host")
    done = host.run("id -u")
    if done.stdout.strip() != "0":
        remedy = remote.let_become_root(access.user)
        expect(Trouble(f"{access.user} does not become root: {done.stderr.strip() or done.stdout.strip()}", remedy))
