"""The cached root: whole or not there, made once by whoever comes first, and by nobody whose maker was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.providers.local.roots import ensure_root, root_of
from tests.integration.providers_fixtures import processes_with

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a root"),
]

# In mmdebstrap's place: as slow as it is told, and as noisy.
STAND_IN = """\
#!/bin/sh
for target in "$@"; do :; done
mkdir -p "$target/etc/ssh"
touch "$target/etc/ssh/ssh_host_ed25519_key" "$target/etc/os-release"
echo made >> {made}
sleep {seconds}
{end}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    yield tmp_path
    assert processes_with(str(tmp_path)) == []


def stand_in(folder: Path, seconds: float = 0, end: str = "") -> None:
    tool = folder / "bin/mmdebstrap"
    tool.write_text(STAND_IN.format(made=folder / "made", seconds=seconds, end=end))
    tool.chmod(0o755)


def eventually(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


MAKE = """
import sys
from pathlib import Path
from binder_node.events import silent
from binder_node.providers.local.roots import ensure_root
ensure_root(Path(sys.argv[1]), "bookworm", silent)
"""


def test_a_root_is_made_once_for_all_who_ask_and_shares_no_host_key(folder: Path) -> None:
    stand_in(folder, seconds=0.3)
    with ThreadPoolExecutor(4) as pool:
        roots = set(pool.map(lambda _: ensure_root(folder, "bookworm", silent), range(4)))
    assert roots == {root_of(folder, "bookworm")}
    assert (folder / "made").read_text() == "made\n"
    assert [path.name for path in roots.pop().glob("etc/**/*") if path.is_file()] == ["os-release"]


def test_a_failed_making_leaves_nothing_and_says_why(folder: Path) -> None:
    stand_in(folder, end="echo E: no such suite >&2; exit 100")
    with pytest.raises(StepError, match="mmdebstrap of noble: E: no such suite") as caught:
        ensure_root(folder, "noble", silent)
    assert "ubuntu-keyring" in caught.value.remedy
    assert [path for path in (folder / "local/roots").iterdir() if path.is_dir()] == []


def test_a_killed_maker_takes_its_tools_with_it_and_the_next_one_begins_anew(folder: Path) -> None:
    stand_in(folder, seconds=60)
    maker = subprocess.Popen([sys.executable, "-c", MAKE, str(folder)])
    eventually("the making to begin", 30, (folder / "made").exists)
    maker.kill()
    maker.wait()
    eventually("its tools to end", 10, lambda: not processes_with(str(folder / "local")))
    assert not root_of(folder, "bookworm").exists()

    stand_in(folder)
    root = ensure_root(folder, "bookworm", silent)
    assert [path.name for path in root.parent.iterdir() if path.is_dir()] == [root.name]
