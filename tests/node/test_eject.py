"""The right to leave: ejected files applied by hand to a bare machine give the node that `plan` finds right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.harness import REPO, Home, lent, make_home

pytestmark = [pytest.mark.node, pytest.mark.soak]

# A machine and nothing else: what a provider hands over.
BARE = """
import sys
from binder_node.events import silent
from binder_node.lifecycle.opened import open_bare, open_spec
from binder_node.providers import provider_for
from binder_node.secrets.store import SecretStore

opened = open_spec(sys.argv[1], None)
SecretStore(opened.inventory, opened.spec).ensure()
provider = provider_for(open_bare(opened))
provider.apply(provider.inspect(silent), silent)
"""


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Home]:
    with lent(make_home(tmp_path, "leaving", "198.18.121")) as home:
        argv = [sys.executable, "-c", BARE, str(home.inventory)]
        subprocess.run(argv, cwd=REPO, env=home.environment, check=True, timeout=120)
        home.world("up")
        yield home


def test_ejected_files_make_the_node_on_a_bare_machine(bare: Home) -> None:
    before = json.loads(bare.run("plan", "-o", "json").ok().out)
    assert before["count"] > 50
    folder = bare.folder / "plain"
    told = json.loads(bare.run("eject", str(folder), "-o", "json").ok().out)
    assert told["address"] == "198.18.121.20"
    assert folder.stat().st_mode & 0o077 == 0

    # As a person does it who has the folder, a shell and nothing of ours.
    with subprocess.Popen(["tar", "-C", str(folder), "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
        unpack = bare.argv("ssh", "--", "mkdir -m 700 /root/plain && tar -C /root/plain -xf -")
        subprocess.run(unpack, stdin=packed.stdout, env=bare.environment, cwd=bare.folder, check=True, timeout=120)
        assert packed.wait(10) == 0
    bare.ssh("cd /root/plain && ./host.sh && ./bucket.sh && ./release.sh", timeout=420)
    bare.ssh("rm -rf /root/plain")

    after = json.loads(bare.run("plan", "-o", "json").ok().out)
    assert [change for stage in after["stages"] for change in stage["changes"]] == []
    launched = bare.launch(f"{bare.git}/minimal.git", "--run", "print(6 * 7)").ok()
    assert launched.last["data"]["output"] == "42\n"
